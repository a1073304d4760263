"""A web page that speaks the guest API as a widget does, for a real browser to show."""

import json
from pathlib import Path
from typing import Any

PAGE = """<!doctype html><meta charset="utf-8"><title>A widget</title><script>
const {url, token, story} = SETTINGS;
const deploymentId = new URL(url).searchParams.get("deploymentId");
const id = () => crypto.randomUUID();
let socket, waiting = [], seen = [], number = 0;
window.state = "running";
window.failure = "";

const pause = ms => new Promise(done => setTimeout(done, ms));
const send = frame => socket.send(JSON.stringify({token, tracingId: id(), ...frame}));
const message = m => send({
  action: "onMessage", message: {...m, metadata: {id: id()}, ...ATTRIBUTES}});
const presence = type => send({action: "onMessage", message: {
  type: "Event", events: [{eventType: "Presence", presence: {type}}]}});
const until = test => new Promise((done, fail) => {
  const timer = setTimeout(() => fail(new Error("waited in vain: " + test)), 20000);
  const look = () => {
    const at = seen.findIndex(test);
    if (at < 0) return;
    clearTimeout(timer);
    waiting = waiting.filter(one => one !== look);
    done(seen.splice(0, at + 1).pop());
  };
  waiting.push(look);
  look();
});
const outbound = f => f.class === "StructuredMessage" && f.body.direction === "Outbound"
  && (f.body.text || f.body.content);

async function connect() {
  socket = new WebSocket(url);
  socket.onmessage = event => {
    seen.push(JSON.parse(event.data));
    waiting.slice().forEach(look => look());
  };
  await new Promise((done, fail) => { socket.onopen = done; socket.onerror = fail; });
  send({action: "configureSession", deploymentId, startNew: false,
        journeyContext: {customer: {id: "visitor-cookie-5512", idType: "cookie"},
                         customerSession: {id: "", type: "web"}}});
  await until(f => f.class === "SessionResponse");
}

async function upload(name, text) {
  send({action: "onAttachment", fileName: name, fileType: "text/plain", fileSize: text.length});
  const place = (await until(f => f.class === "PresignedUrlResponse")).body;
  await fetch(place.url, {method: "PUT", headers: place.headers, body: text});
  await until(f => f.class === "UploadSuccessEvent");
  message({type: "Text", text: name,
           content: [{contentType: "Attachment", attachment: {id: place.attachmentId}}]});
}

const deeds = {
  connect, pause, upload,
  join: () => presence("Join"),
  say: text => message({type: "Text", text}),
  typing: () => send({action: "onMessage", message: {
    type: "Event", events: [{eventType: "Typing", typing: {type: "On"}}]}}),
  choose: (text, payload) => message({type: "Structured", text, content: [
    {contentType: "ButtonResponse", buttonResponse: {type: "QuickReply", text, payload}}]}),
  echo: () => send({action: "echo", message: {type: "Text", text: "ping"}}),
  jwt: async () => { send({action: "getJwt"}); await until(f => f.class === "JwtResponse"); },
  reply: () => until(outbound),
  drop: async () => { socket.close(); await pause(50); },
  clear: async () => {
    presence("Clear");
    await until(f => f.class === "ConnectionClosedEvent");
    socket.close(1000);
  },
};

(async () => {
  for (const [deed, ...values] of story) await deeds[deed](...values);
  window.state = "done";
})().catch(error => { window.failure = String(error); window.state = "failed"; });
</script>"""


def guest_page(
    folder: Path,
    url: str,
    token: str,
    story: list[list[Any]],
    attributes: dict[str, str] | None = None,
) -> str:
    """Write the page of one guest's story; its URL. ``window.state`` becomes ``done``."""
    channel = {"channel": {"metadata": {"customAttributes": attributes}}} if attributes else {}
    settings = json.dumps({"url": url, "token": token, "story": story})
    page = PAGE.replace("SETTINGS", settings).replace("ATTRIBUTES", json.dumps(channel))
    file = folder / "widget.html"
    file.write_text(page)
    return file.as_uri()
