"""django-post_office sending as fast as its settings allow; runs under a Python that has it, not under ours.

`PYTHON -m bench.post_office_stack NUMBER` reads one line of JSON: `database` URL, `smtp_port`, the words as `subject`,
`text` and `html` in Django's language, the `facts` of each message. It prepares everything, says `ready`, waits for a
line, and prints how long it took from the first message that was queued to the last that was sent. Tuned as its
documentation says: many messages per insert, words rendered on delivery, batches of a thousand, two processes of eight
threads, no log of successes.
"""

import json
import os
import sys
import tempfile
import time
from urllib.parse import unquote, urlsplit

BATCH, PROCESSES, THREADS = 1000, 2, 8


def _configure(database: str, smtp_port: int) -> None:
    import django  # type: ignore[import-not-found]
    from django.conf import settings  # type: ignore[import-not-found]

    where = urlsplit(database)
    settings.configure(
        INSTALLED_APPS=["django.contrib.contenttypes", "post_office"],
        USE_TZ=True,
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": where.path.lstrip("/"),
                "USER": unquote(where.username or ""),
                "PASSWORD": unquote(where.password or ""),
                "HOST": where.hostname,
                "PORT": where.port,
            }
        },
        EMAIL_BACKEND="post_office.EmailBackend",
        EMAIL_HOST="127.0.0.1",
        EMAIL_PORT=smtp_port,
        TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
        POST_OFFICE={
            "BACKENDS": {"default": "django.core.mail.backends.smtp.EmailBackend"},
            "BATCH_SIZE": BATCH,
            "THREADS_PER_PROCESS": THREADS,
            "LOG_LEVEL": 1,
        },
    )
    django.setup()


def main(number: int) -> None:
    """Prepare, wait, queue and send."""
    given = json.loads(sys.stdin.readline())
    _configure(given["database"], given["smtp_port"])
    from django.core.management import call_command  # type: ignore[import-not-found]
    from django.db import connection  # type: ignore[import-not-found]
    from post_office import mail  # type: ignore[import-not-found]
    from post_office.models import STATUS, Email, EmailTemplate  # type: ignore[import-not-found]

    call_command("migrate", verbosity=0)
    words = {"subject": given["subject"], "content": given["text"], "html_content": given["html"]}
    EmailTemplate.objects.update_or_create(name="problem-known", defaults=words)
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE post_office_email CASCADE")
    print(json.dumps({"ready": True}), flush=True)
    sys.stdin.readline()
    started = time.perf_counter()
    for first in range(0, number, BATCH):
        mail.send_many(
            {
                "recipients": [f"ann.{each}@example.com"],
                "sender": "care@example.com",
                "template": "problem-known",
                "context": given["facts"][each],
                "render_on_delivery": True,
            }
            for each in range(first, min(number, first + BATCH))
        )
    queued = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        mail.send_queued_mail_until_done(lockfile=os.path.join(folder, "lock"), processes=PROCESSES)  # noqa: PTH118
    ended = time.perf_counter()
    sent = Email.objects.filter(status=STATUS.sent).count()
    print(json.dumps({"seconds": ended - started, "queueing_seconds": queued - started, "sent": sent}), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
