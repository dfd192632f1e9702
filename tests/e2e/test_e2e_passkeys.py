"""Passkeys in a browser whose authenticator is Chromium's virtual one (SIMULATED: no real key was tried)."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization as to
from tablets import ARGUMENTS, CHROMIUM, PINS, SLOW_MS, Served, Tablet, home_of, unlock, until

pytestmark = pytest.mark.enable_socket
pytest.importorskip("webauthn", reason="takes the extra `passkeys`")

WHO = "dr-musa"
USB_KEY = {
    "protocol": "ctap2",
    "transport": "usb",
    "hasResidentKey": False,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}


@dataclass
class Key:
    """A key in a tablet's port. talk: the DevTools protocol of its page."""

    talk: Any
    id: str

    def credentials(self) -> list[dict[str, Any]]:
        got = self.talk.send("WebAuthn.getCredentials", {"authenticatorId": self.id})
        return list(got["credentials"])

    def takes(self, credential: dict[str, Any]) -> None:
        self.talk.send("WebAuthn.addCredential", {"authenticatorId": self.id, "credential": credential})

    def knows_its_owner(self, yes: bool) -> None:
        self.talk.send("WebAuthn.setUserVerified", {"authenticatorId": self.id, "isUserVerified": yes})


def by_name(tablet: Tablet) -> Tablet:
    """The box as a name calls it: browsers have no passkeys for an address."""
    return replace(tablet, url=tablet.url.replace("127.0.0.1", "localhost"))


def key_in(tablet: Tablet) -> Key:
    talk = tablet.context.new_cdp_session(tablet.page)
    talk.send("WebAuthn.enable")
    made = talk.send("WebAuthn.addVirtualAuthenticator", {"options": USB_KEY})
    return Key(talk, made["authenticatorId"])


def add_passkey(tablet: Tablet, who: str = WHO, how_many: int = 1) -> None:
    tablet.open("/me/passkeys")
    page = tablet.page
    page.fill("main [name=current]", PINS[who])
    page.click("main [data-passkey=add] button")
    page.wait_for_selector(f"main form[action='/me/passkeys/remove'] >> nth={how_many - 1}")


def sign_out(tablet: Tablet) -> None:
    tablet.page.click("#me summary")
    tablet.page.click("#me form[action='/sign-out'] button")
    tablet.page.wait_for_url("**/sign-in")


def try_passkey(tablet: Tablet, who: str = WHO) -> None:
    tablet.open("/sign-in")
    tablet.page.check(f"main input[value={who}]")
    tablet.page.click("main [data-passkey=sign-in]")


def sign_in_by_passkey(tablet: Tablet, who: str = WHO) -> None:
    try_passkey(tablet, who)
    tablet.page.wait_for_url(f"{tablet.url}/")
    until(tablet.page, f"box.user === '{who}'")


def refusal(tablet: Tablet) -> str:
    error = tablet.page.wait_for_selector("main .error:not(:empty)")
    return str(error.inner_text())


@pytest.fixture
def tablet(tablets: Callable[..., Tablet], box: Served) -> Iterator[Tablet]:
    """Nobody has a passkey when the test is over."""
    made = by_name(tablets(box))
    yield made
    made.context.clear_cookies()
    made.sign_in(WHO)
    made.open("/me/passkeys")
    while made.page.query_selector("form[action='/me/passkeys/remove']"):
        remove_first(made)


def remove_first(tablet: Tablet) -> None:
    page = tablet.page
    form = page.locator("form[action='/me/passkeys/remove']")
    left = form.count() - 1
    form.first.locator("[name=because]").fill("lost it")
    form.first.locator("button").click()
    until(page, f"document.querySelectorAll(\"form[action='/me/passkeys/remove']\").length === {left}")


def test_a_passkey_is_added_and_signs_in_after_signing_out(tablet: Tablet, box: Served) -> None:
    key = key_in(tablet)
    tablet.sign_in(WHO)
    add_passkey(tablet)
    tablet.shot("added")
    (credential,) = key.credentials()
    assert credential["rpId"] == "localhost"
    assert not credential["isResidentCredential"], "a shared tablet's key lists nobody"
    sign_out(tablet)
    tablet.shot("sign-in")
    sign_in_by_passkey(tablet)
    told = [json.loads(entry.body) for entry in box.recorded("sign-in") if entry.by == WHO]
    assert told[-1]["factor"] == "passkey"
    assert key.credentials()[0]["signCount"] > credential["signCount"]


def test_a_copy_whose_counter_does_not_go_on_is_refused(
    tablet: Tablet, tablets: Callable[..., Tablet], box: Served
) -> None:
    key = key_in(tablet)
    tablet.sign_in(WHO)
    add_passkey(tablet)
    (copy,) = key.credentials()
    sign_out(tablet)
    sign_in_by_passkey(tablet)
    thief = by_name(tablets(box))
    key_in(thief).takes(copy)
    try_passkey(thief)
    assert "sign count" in refusal(thief)
    thief.open("/me")
    assert thief.page.url.split("?")[0].endswith("/sign-in")
    told = json.loads(box.recorded("sign-in-failed")[-1].body)
    assert told["factor"] == "passkey"
    assert "sign count" in told["why"]


def test_a_removed_passkey_is_refused(tablet: Tablet, tablets: Callable[..., Tablet], box: Served) -> None:
    key_in(tablet)
    tablet.sign_in(WHO)
    add_passkey(tablet)
    other = by_name(tablets(box))
    other.open("/sign-in")
    remove_first(tablet)
    assert "You have no passkey." in tablet.page.inner_text("main")
    other.page.check(f"main input[value={WHO}]")
    other.page.click("main [data-passkey=sign-in]")
    assert "a user who has one for localhost" in refusal(other)
    sign_out(tablet)
    assert tablet.page.query_selector("[data-passkey]") is None, "nobody has one any more"


def test_a_key_that_does_not_know_its_owner_signs_nobody_in_and_the_pin_does(tablet: Tablet) -> None:
    key = key_in(tablet)
    tablet.sign_in(WHO)
    add_passkey(tablet)
    sign_out(tablet)
    key.knows_its_owner(False)
    try_passkey(tablet)
    assert "did not answer" in refusal(tablet)
    tablet.page.fill("main [name=pin]", PINS[WHO])
    tablet.page.click("main button.primary")
    tablet.page.wait_for_url(f"{tablet.url}/")


def test_a_session_that_is_over_in_mid_form_is_opened_again_by_passkey(tablet: Tablet, box: Served) -> None:
    key = key_in(tablet)
    tablet.sign_in(WHO)
    add_passkey(tablet)
    page = tablet.page
    tablet.open("/consultation#note")
    page.fill("[name=note]", "cough and runny nose for 2 days")
    page.evaluate("location.hash = 'vitals'")
    page.click("#vitals [data-assess]")
    page.wait_for_selector("#answer .assessment")
    tablet.context.clear_cookies()
    page.click("[data-keep]")
    page.wait_for_selector("#sign-in[open] [data-passkey]")
    tablet.shot("dialog")
    wide = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    assert page.evaluate(wide)
    page.check(f"#sign-in input[value={WHO}]")
    key.knows_its_owner(False)
    page.click("#sign-in [data-passkey]")
    error = page.wait_for_selector("#sign-in .error:not([hidden])")
    assert "did not answer" in error.inner_text()
    key.knows_its_owner(True)
    page.click("#sign-in [data-passkey]")
    page.wait_for_selector("#answer .assessment[data-kept=open]")
    assert not page.is_visible("#sign-in")
    assert page.locator("#sign-in [data-passkey]").count() == 0, "the next time it is asked anew"
    assert json.loads(box.recorded("sign-in")[-1].body)["factor"] == "passkey"
    assert box.recorded("case")[-1].by == WHO


def test_the_dialog_offers_no_passkey_where_nobody_has_one(tablet: Tablet) -> None:
    tablet.sign_in(WHO)
    tablet.open("/consultation")
    tablet.context.clear_cookies()
    tablet.page.evaluate("void signIn()")
    tablet.page.wait_for_selector("#sign-in[open]")
    assert tablet.page.query_selector("#sign-in [data-passkey]") is None


def test_a_supervisor_removes_the_passkey_of_a_lost_key(
    tablet: Tablet, tablets: Callable[..., Tablet], box: Served
) -> None:
    key_in(tablet)
    tablet.sign_in(WHO)
    add_passkey(tablet)
    sign_out(tablet)
    head = by_name(tablets(box))
    head.sign_in("jean-habimana")
    head.open("/staff")
    page = head.page
    hers = page.locator("details.candidate", has_text="Dr Musa")
    hers.locator("summary").click()
    form = hers.locator("form[action$='/passkey']")
    form.locator("[name=because]").fill("the key was lost on the bus")
    form.locator("button").click()
    assert form.count() == 1, "without the tick nothing is sent"
    page.evaluate("scrollTo(0, 0)")
    head.shot("staff")
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    form.locator("[name=sure]").check()
    with page.expect_navigation():
        form.locator("button").click()
    assert page.locator("form[action$='/passkey']").count() == 0
    removed = box.recorded("passkey-removed")[-1]
    assert (removed.by, json.loads(removed.body)["user"]) == ("jean-habimana", WHO)
    tablet.open("/sign-in")
    assert tablet.page.query_selector("[data-passkey]") is None


def test_a_wrong_pin_adds_none_and_says_so_in_place(tablet: Tablet) -> None:
    key = key_in(tablet)
    tablet.sign_in(WHO)
    tablet.open("/me/passkeys")
    tablet.page.fill("main [name=current]", "0000")
    tablet.page.click("main [data-passkey=add] button")
    assert "more attempts" in refusal(tablet)
    assert key.credentials() == []
    tablet.open("/sign-in")
    tablet.page.check(f"main input[value={WHO}]")
    tablet.page.fill("main [name=pin]", PINS[WHO])
    tablet.page.click("main button.primary")
    tablet.page.wait_for_selector("main .warn")


def test_no_passkey_is_offered_at_an_address_or_without_scripts(
    tablet: Tablet, tablets: Callable[..., Tablet], box: Served
) -> None:
    key_in(tablet)
    tablet.sign_in(WHO)
    add_passkey(tablet)
    numbered = tablets(box)
    numbered.open("/sign-in")
    assert numbered.page.query_selector("[data-passkey]") is None
    numbered.sign_in(WHO)
    numbered.open("/me/passkeys")
    assert numbered.page.is_visible("main [data-without]")
    plain = by_name(tablets(box, java_script_enabled=False))
    plain.open("/sign-in")
    assert plain.page.is_hidden("main [data-passkey]")
    plain.page.check(f"main input[value={WHO}]")
    plain.page.fill("main [name=pin]", PINS[WHO])
    plain.page.click("main button.primary")
    plain.page.wait_for_url(f"{plain.url}/")
    plain.open("/me/passkeys")
    assert plain.page.is_visible("main [data-without]")
    assert plain.page.is_hidden("main [data-passkey=add]")


def test_the_pages_with_passkeys_are_for_everybody(tablet: Tablet) -> None:
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed"
    ).Axe()
    key_in(tablet)
    tablet.sign_in(WHO)
    add_passkey(tablet)
    found = []
    for path in ("/me/passkeys", "/me", "/sign-in"):
        tablet.open(path)
        for scheme in ("light", "dark"):
            tablet.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            found += [
                f"{path} {scheme}: {each['id']}" for each in axe.run(tablet.page).response["violations"]
            ]
        width = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        assert tablet.page.evaluate(width), path
    assert found == []


# --- as a clinic serves it ------------------------------------------------------------------------------

NAME = "post7.clinic"


class Secure(Served):
    """Served by HTTPS under a name, with a certificate of the clinic's own authority."""

    def start(self) -> None:
        env = {**os.environ, "AKAZUBA_HOME": str(self.home), "AKAZUBA_LLM": "off", "AKAZUBA_ENGINE": "tiny"}
        command = [sys.executable, "-m", "akazuba", "serve", "--port", "0", "--tls", "--name", NAME]
        self.process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip().rstrip("/")
        assert self.url.startswith(f"https://{NAME}:"), "the box was not served"

    def trusted(self) -> str:
        """What tells a browser to take this server's key without the authority in its store."""
        made = x509.load_pem_x509_certificate((self.home / "tls" / "server.crt.pem").read_bytes())
        public = made.public_key().public_bytes(to.Encoding.DER, to.PublicFormat.SubjectPublicKeyInfo)
        digest = base64.b64encode(hashlib.sha256(public).digest()).decode()
        return f"--ignore-certificate-errors-spki-list={digest}"


@pytest.fixture
def secure(
    chromium: Any, tmp_path_factory: pytest.TempPathFactory, terminology_home: Path
) -> Iterator[Tablet]:
    """A tablet in front of a box that it calls by its name."""
    served = Secure(home_of(tmp_path_factory, terminology_home, store=True))
    served.start()
    more = (f"--host-resolver-rules=MAP {NAME} 127.0.0.1", served.trusted())
    try:
        browser = chromium.browser_type.launch(executable_path=CHROMIUM, args=[*ARGUMENTS, *more])
        context = browser.new_context()
        context.set_default_timeout(SLOW_MS)
        page = context.new_page()
        unlock(page, served.url)
        yield Tablet(page, context, served.url, [], NAME)
        browser.close()
    finally:
        served.stop()


def test_a_passkey_signs_in_at_the_clinics_name_over_its_own_https(secure: Tablet) -> None:
    key = key_in(secure)
    secure.sign_in(WHO)
    add_passkey(secure)
    sign_out(secure)
    sign_in_by_passkey(secure)
    assert [each["rpId"] for each in key.credentials()] == [NAME]
