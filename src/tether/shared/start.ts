/**
 * How a browser on the laptop itself is told its secret (docs/tether-protocol.md §3). Not by an address: other users
 * see a program's arguments, and a browser keeps its addresses. The start file, which only its owner can read, posts
 * the secret to the laptop, and the answer puts it into the tab's session storage, where the page finds it. Pure.
 */

/** Where the start file posts to, and how. */
export const START_PATH = '/start';
const START_FIELD = 'secret';

/** In the session storage: whose secret it is, and the secret. */
export const SECRET_KEY = 'wstun-tether';
/** In the session storage: `tab` or `hidden`, on the laptop itself. */
export const HERE_KEY = 'wstun-here';

/** `hidden`: nobody sees the page, so it draws nothing. */
export type StartView = 'tab' | 'hidden';

/** The start file. @param secret 22 characters of base64url @param origin `http://127.0.0.1:PORT` */
export function startFile(secret: string, origin: string): string {
  return `<!doctype html>
<meta charset="utf-8">
<meta name="referrer" content="no-referrer">
<title>wstun</title>
<form method="post" action="${origin}${START_PATH}"><input type="hidden" name="${START_FIELD}" value="${secret}"></form>
<script>document.forms[0].submit()</script>
`;
}

/** The secret in the body of a post; undefined for anything that the start file would not send. */
export function readStart(body: string): string | undefined {
  return new RegExp(`^${START_FIELD}=([A-Za-z0-9_-]{22})$`).exec(body)?.[1];
}

/** The script of the answer. */
export function startScript(secret: string, view: StartView): string {
  return `sessionStorage.setItem('${SECRET_KEY}','code ${secret}');sessionStorage.setItem('${HERE_KEY}','${view}');location.replace('/')`;
}
