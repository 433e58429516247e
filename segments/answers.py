"""From values inside to what routes and commands answer."""

from segments import rules
from segments.discovery import Proposal
from segments.schemas import ContrastOut, ProposalOut, StepOut


def proposal_out(proposal: Proposal) -> ProposalOut:
    """Return a proposal as it is shown."""
    return ProposalOut(
        sentence=proposal.sentence,
        rule=proposal.rule,
        definition=proposal.definition.document(),
        contrast=ContrastOut.model_validate(proposal.contrast),
        q_value=proposal.q_value,
        steps=[StepOut.model_validate(step) for step in proposal.steps],
    )


def definition_in(text: str | bytes) -> rules.Definition:
    """Read a definition from the text of a file; raises `InvalidRule`."""
    return rules.parse_definition(rules.loads(text))
