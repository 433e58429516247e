"""Our static files: each address carries the file's fingerprint, so that browsers may keep it for good."""

from functools import cache
from hashlib import sha256
from pathlib import Path

from fastapi.staticfiles import StaticFiles
from starlette.responses import Response
from starlette.types import Scope

STATIC = Path(__file__).parent / "static"


class Files(StaticFiles):
    """Static files that browsers keep when they were asked for by fingerprint."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Answer with the file."""
        response = await super().get_response(path, scope)
        if scope.get("query_string", b"").startswith(b"v="):
            response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        elif path.startswith("vendor/"):  # fonts, which the style sheet names without a fingerprint
            response.headers["Cache-Control"] = "public, max-age=86400"
        return response


@cache
def static_url(path: str) -> str:
    """Return the address of a static file, with its fingerprint."""
    return f"/static/{path}?v={sha256((STATIC / path).read_bytes()).hexdigest()[:10]}"
