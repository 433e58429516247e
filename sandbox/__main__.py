"""Starts the sandbox: `python -m sandbox --port 8322 --home DIR --webhooks-to URL --seed 7`."""

import logging
import sys

import uvicorn
from pydantic import ValidationError

from sandbox.app import create_app
from sandbox.settings import SandboxSettings
from sandbox.wire import DroppableProtocol


def main() -> int:
    """Read the options, serve until SIGTERM or SIGINT; 2 means that an option is wrong."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        # Without the command line the field `home` is missing; pydantic-settings reads both.
        settings = SandboxSettings(_cli_parse_args=True).with_secrets()  # type: ignore[call-arg]
        app = create_app(settings)
    except ValidationError as error:
        for detail in error.errors():
            place = ".".join(str(step) for step in detail["loc"])
            sys.stderr.write(f"{place}: {detail['msg']}\n")
        return 2
    except (OSError, ValueError, ImportError) as error:
        sys.stderr.write(f"the sandbox cannot start: {error}\n")
        return 2
    uvicorn.run(
        app,
        host=settings.host,
        port=settings.port,
        http=DroppableProtocol,
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=3,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
