"""When a question or a tip would be out of place, as SQL about a due row `d`; the reasons are those of `SkipReason`."""

from campaigns.programmes.steps import Happened

# Between two surveys to one person, whatever their kind; and between two about the relationship (NPS).
SURVEY_DAYS, NPS_DAYS = 30, 90
# After a notice about a problem nobody is asked how things are.
QUIET_AFTER_NOTICE_HOURS = 72

PROBLEM_OPEN = """EXISTS (
    SELECT 1 FROM audience_members am JOIN segments sg ON sg.id = am.segment_id
    JOIN problems pr ON pr.id = sg.problem_id
    WHERE am.customer_id = d.customer_id AND am.left_at IS NULL AND am.grade <> 'cleared'
      AND pr.state IN ('investigating', 'known', 'monitoring'))"""

# After a resolution the check-in of it, due or sent meanwhile, says what an ordinary one would.
CHECKED_IN = """EXISTS (
    SELECT 1 FROM check_ins ci WHERE ci.customer_id = d.customer_id AND ci.state IN ('due', 'sent')
      AND ci.due_at >= d.held_since)"""

JUST_TOLD = f"""EXISTS (
    SELECT 1 FROM notices jn JOIN campaigns jc ON jc.id = jn.campaign_id
    WHERE jn.customer_id = d.customer_id AND jn.state = 'delivered' AND jc.problem_id IS NOT NULL
      AND jc.kind IN ('known', 'update', 'resolved', 'recall')
      AND jn.settled_at > cast(:now AS timestamptz) - interval '{QUIET_AFTER_NOTICE_HOURS} hours')"""

ASKED_RECENTLY = f"""EXISTS (
    SELECT 1 FROM survey_asks sa JOIN surveys sv ON sv.id = sa.survey_id
    WHERE sa.customer_id = d.customer_id
      AND sa.asked_at > cast(:now AS timestamptz)
          - CASE WHEN sv.kind = 'nps' AND :survey_kind = 'nps' THEN interval '{NPS_DAYS} days'
                 ELSE interval '{SURVEY_DAYS} days' END)"""

# What happened to her since this occurrence started: the reply or answer, the click, the order, the ticket.
HAPPENED: dict[Happened, str] = {
    "answered": """(EXISTS (
        SELECT 1 FROM survey_asks ha JOIN notices hn ON hn.id = ha.notice_id
        WHERE ha.customer_id = d.customer_id AND ha.answered_at >= d.started_at AND NOT ha.suspected_bot
          AND hn.occurrence = d.id)
      OR EXISTS (
        SELECT 1 FROM responses hr JOIN campaigns hc ON hc.id = hr.campaign_id
        WHERE hr.customer_id = d.customer_id AND hc.programme_id = d.programme_id
          AND hr.received_at >= d.started_at AND hr.intent NOT IN ('out_of_office', 'gibberish')))""",
    "clicked": """EXISTS (
        SELECT 1 FROM notices hn JOIN messages hm ON hm.notice_id = hn.id JOIN campaigns hc ON hc.id = hn.campaign_id
        WHERE hn.customer_id = d.customer_id AND hn.occurrence = d.id AND hc.programme_id = d.programme_id
          AND hm.clicked_at IS NOT NULL)""",
    "bought": """EXISTS (
        SELECT 1 FROM orders ho WHERE ho.customer_id = d.customer_id AND ho.ordered_at >= d.started_at
          AND ho.cancelled_at IS NULL)""",
    "ticket_opened": """EXISTS (
        SELECT 1 FROM tickets ht WHERE ht.customer_id = d.customer_id AND ht.opened_at >= d.started_at)""",
}
