/**
 * How a browser on the laptop itself is told its secret (docs/tether-protocol.md §3). Not by an address: other users
 * see a program's arguments, and a browser keeps its addresses. The start file, which only its owner can read, posts
 * the secret to the laptop. The answer is the page, with the secret in a script before its own. Pure.
 */

/** Where the start file posts to, and how. */
export const START_PATH = '/start';
const START_FIELD = 'secret';

/** In the session storage: the view. A reload has no start file. */
export const VIEW_KEY = 'wstun-view';
/** The global variable with what the answer says. */
export const START_VARIABLE = 'wstunStart';

export interface PageStart {
  readonly secret: string;
  readonly view: StartView;
}

/** `hidden`: nobody sees the page, so it draws nothing. */
export type StartView = 'tab' | 'hidden';

/** The start file. @param secret 22 characters of base64url @param origin `http://127.0.0.1:PORT` */
export function startFile(secret: string, origin: string): string {
  return `<!doctype html>
<meta charset="utf-8">
<meta name="referrer" content="no-referrer">
<title>wstun</title>
<form method="post" autocomplete="off" action="${origin}${START_PATH}"><input type="hidden" name="${START_FIELD}" value="${secret}"></form>
<script>document.forms[0].submit()</script>
`;
}

/** The secret in the body of a post; undefined for anything that the start file would not send. */
export function readStart(body: string): string | undefined {
  return new RegExp(`^${START_FIELD}=([A-Za-z0-9_-]{22})$`).exec(body)?.[1];
}

/** The page, as the answer to a start file. @param html of the page */
export function withStart(html: string, start: PageStart): string {
  return html.replace('<script>', () => `<script>${START_VARIABLE}=${JSON.stringify(start)}</script><script>`);
}
