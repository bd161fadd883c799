"""An OpenAI-compatible address: who is asked there, in what name, and what to say when nobody answers.

The key is OPENAI_API_KEY of the environment. It is sent, and never written: not in facts, answers or errors.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tedbench.errors import MetricError, NetworkError, UsageError, short

if TYPE_CHECKING:
    from openai import OpenAI

SAID = ("text", "refusal", "finish", "model", "fingerprint")
_FILTERED = ("content_filter", "content_policy_violation")
"""Codes of an HTTP error that is no failure of the server: it would not look at this picture or text."""
_SECRET = 8
"""Characters from which a key is one; servers without keys are given `none` or `EMPTY`."""


@dataclass(frozen=True)
class Endpoint:
    """Where to ask, and how patiently."""

    address: str
    """`http://HOST:PORT/v1`."""
    seconds: float
    retries: int

    def client(self) -> OpenAI:
        """A client of its own; to be closed.

        Raises:
            MetricError: if it is not installed.
        """
        try:
            from openai import OpenAI
        except ImportError as error:
            raise MetricError("a judge needs the openai client: pip install 'tedbench-editing[judge]'") from error
        # The client insists on a key; servers that need none ignore it.
        key = _key() or "none"
        return OpenAI(base_url=self.address, api_key=key, timeout=self.seconds, max_retries=self.retries)

    def ask(
        self, client: OpenAI, model: str, content: Sequence[Mapping[str, Any]], settings: Mapping[str, Any]
    ) -> dict[str, str]:
        """One message, one answer: `SAID`, each a text as the server sent it, empty if it did not.

        Raises:
            NetworkError: if the server cannot be reached, or answers with an error, after all retries.
        """
        import openai

        message: Any = {"role": "user", "content": content}
        try:
            return _said(client.chat.completions.create(model=model, messages=[message], **settings))
        # `from None`: the original may quote the key, and --debug would show it.
        except openai.APIStatusError as error:
            if error.code in _FILTERED:
                return {**dict.fromkeys(SAID, ""), "refusal": clean(str(error))}
            raise self._failure(f"answered with HTTP {error.status_code}", error) from None
        except openai.APIConnectionError as error:
            raise self._failure("cannot be reached", error) from None
        except (openai.OpenAIError, ValueError) as error:
            raise self._failure("gave no chat completion", error) from None

    def _failure(self, what: str, error: Exception) -> NetworkError:
        said = short(NetworkError(clean(str(error))), 160)
        return NetworkError(
            f"{self.address} {what} ({said}); nothing was scored, answers so far are kept for next time"
        )


def find(address: str) -> str:
    """The address to ask: this one, or OPENAI_BASE_URL of the environment.

    Raises:
        UsageError: if there is none, or it cannot be read.
    """
    address = address or os.environ.get("OPENAI_BASE_URL", "").strip()
    if not address:  # rather than pictures to whom the client would send them
        raise UsageError("a judge needs an address: judge-…@MODEL?address=http://HOST:PORT/v1, or OPENAI_BASE_URL")
    check(address)
    return address


def check(address: str) -> None:
    """Refuse what is no address, and what can hold a secret: an address is written with the scores.

    Raises:
        UsageError: without quoting it.
    """
    try:
        parts = urlsplit(address)
        fine = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and address.isprintable()
    except ValueError:
        fine = False
    if "@" in address or "?" in address or "#" in address:
        raise UsageError(
            "the address of a judge must hold no user, password, ? or #, since it is written with the scores; "
            "give http://HOST:PORT/v1, and the key in OPENAI_API_KEY"
        )
    if not fine or " " in address:
        raise UsageError("the address of a judge cannot be read; give http://HOST:PORT/v1")


def clean(said: object) -> str:
    """What a server said, as a file can hold it, and without the key, should it be quoted there."""
    text = said.encode("utf-8", "replace").decode("utf-8") if isinstance(said, str) else ""
    return text.replace(_key(), "…") if len(_key()) >= _SECRET else text


def _said(reply: Any) -> dict[str, str]:
    # The client does not check what a server sends: any part may be missing, or be something else.
    choices = getattr(reply, "choices", None)
    message = getattr(choices[0], "message", None) if isinstance(choices, list) and choices else None
    if message is None or not choices:
        raise ValueError("its answer has no message; does the address end in /v1?")
    return {
        "text": clean(getattr(message, "content", "")),
        "refusal": clean(getattr(message, "refusal", "")),
        "finish": clean(getattr(choices[0], "finish_reason", "")),
        "model": clean(getattr(reply, "model", "")),
        "fingerprint": clean(getattr(reply, "system_fingerprint", "")),
    }


def _key() -> str:
    return os.environ.get("OPENAI_API_KEY", "").strip()
