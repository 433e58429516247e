"""The open connections to one SMTP server, kept between windows: a handshake and a login take longer than a message."""

import os
import time
from threading import Condition
from weakref import finalize

from campaigns.providers.smtp_session import Session
from campaigns.providers.transport import DeadlinePassedError, NotSentError

CHECK_AFTER_SECONDS = 5.0  # idle for longer: asked whether it is still there
KEEP_SECONDS = 60.0  # idle for longer: ended, as most servers would soon do
FULL_SECONDS = 15.0  # a server that took no further connection beside ours is not asked for one before
QUIT_SECONDS = 1.0


class Connections:
    """Lends sessions to threads, the one that was used last first; at most `most` of them are kept idle."""

    def __init__(self, url: str, most: int) -> None:
        self._url = url
        self._most = most
        self._changed = Condition()
        self._idle: list[Session] = []
        self._lent = self._opening = 0
        self._full_until = 0.0
        self._closed = False
        self._process = os.getpid()
        finalize(self, _close_all, self._idle)  # who drops an adapter without closing it leaves no socket open

    def take(self, ends: float, *, anew: bool = False) -> Session:
        """Return a session, a new one where `anew`; raises NotSentError where none can be had until `ends`.

        Where the server takes no further connection beside those that are lent, the next free one is waited for.
        """
        while True:
            session = self._free(ends, anew=anew)
            if session is None:
                session = self._opened(ends)
                if session is None:  # there are others, so wait for one of them
                    anew = False
                    continue
            elif time.monotonic() - session.used_at > CHECK_AFTER_SECONDS and not session.answers(ends):
                self.give_back(session)
                continue
            return session

    def give_back(self, session: Session) -> None:
        """Keep a session for the next message, or forget it where it has ended."""
        session.fresh = False
        with self._changed:
            self._lent -= 1
            kept = session.is_open and not self._closed and len(self._idle) < self._most
            if kept:
                self._idle.append(session)
            self._changed.notify_all()
        if not kept:
            session.close()

    def close(self) -> None:
        """End all that are idle now, and the others when they are given back."""
        with self._changed:
            self._closed = True
            self._forget_another_process()
            idle = list(self._idle)
            self._idle.clear()
        ends = time.monotonic() + QUIT_SECONDS
        for session in idle:
            session.quit(ends)

    def _free(self, ends: float, *, anew: bool) -> Session | None:
        """Lend an idle session; none where one is to be opened."""
        with self._changed:
            self._forget_another_process()
            now = time.monotonic()
            while self._idle and now - self._idle[0].used_at > KEEP_SECONDS:
                self._idle.pop(0).close()
            while not self._idle and self._lent and now < self._full_until:
                if now >= ends:
                    raise DeadlinePassedError("the deadline passed before a connection was free")
                self._changed.wait(min(ends, self._full_until) - now)
                now = time.monotonic()
            if anew or not self._idle:
                return None
            self._lent += 1
            return self._idle.pop()

    def _opened(self, ends: float) -> Session | None:
        """Lend a new session; none where the server refuses it and there are others to wait for."""
        with self._changed:
            self._opening += 1
        session = trouble = None
        try:
            session = Session(self._url, ends)
        except NotSentError as error:
            trouble = error
        finally:
            with self._changed:
                self._opening -= 1
                self._lent += session is not None
                self._changed.notify_all()
        if trouble is not None and not self._others_are_open(ends):
            raise trouble
        return session

    def _others_are_open(self, ends: float) -> bool:
        """Tell whether the server took other connections of ours, when those that are being opened are decided."""
        with self._changed:
            self._changed.wait_for(lambda: self._lent or self._idle or not self._opening, ends - time.monotonic())
            if not self._lent and not self._idle:
                return False
            self._full_until = time.monotonic() + FULL_SECONDS
            return True

    def _forget_another_process(self) -> None:
        """After a fork the connections belong to the parent: two that write to one would garble both."""
        if self._process != os.getpid():
            self._process, self._lent, self._opening = os.getpid(), 0, 0
            for session in self._idle:
                session.close()  # our copy of the socket only
            self._idle.clear()


def _close_all(sessions: list[Session]) -> None:
    for session in sessions:
        session.close()
