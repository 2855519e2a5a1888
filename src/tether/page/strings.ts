/** Every text of the page for people, in one table: a translation is another such table. */

export type State =
  /** On the way to the laptop. */
  | 'joining'
  /** Paired; the laptop needs nothing. */
  | 'resting'
  /** Paired; another page carries. */
  | 'spare'
  /** The far leg is being opened. */
  | 'opening'
  | 'carrying'
  /** Nothing answers at the relay. */
  | 'offline'
  /** Something answers there, and does not let us in. */
  | 'refused'
  /** The laptop was there, and is not. */
  | 'gone'
  /** The secret does not hold (any more). */
  | 'expired'
  /** Opened without a secret. */
  | 'bare'
  /** The same page is open elsewhere. */
  | 'replaced';

export const STRINGS = {
  headline: {
    joining: 'Connecting',
    resting: 'Ready',
    spare: 'Standing by',
    opening: 'Connecting',
    carrying: 'Connected',
    offline: 'Offline',
    refused: 'Not let through',
    gone: 'Laptop gone',
    expired: 'Code used up',
    bare: 'Scan the code',
    replaced: 'Open elsewhere',
  },
  detail: {
    joining: 'Looking for your laptop on this network.',
    resting: 'Your laptop needs nothing at the moment.',
    spare: 'Another phone is carrying. This one takes over if it fails.',
    opening: 'Opening the way to the relay.',
    carrying: 'Your laptop is online through this phone.',
    offline: 'This phone cannot reach the relay. Is mobile data on? Trying again.',
    refused: 'The relay answers, but does not open. The laptop tries again.',
    gone: 'Is it awake, and on the same Wi-Fi? Trying again.',
    expired: 'A code works once, for five minutes. Scan the one on your laptop now.',
    bare: 'This page works when it is opened by the code on your laptop.',
    replaced: 'This page is connected in another tab.',
  },
  route: { laptop: 'Laptop', phone: 'This phone', relay: 'Relay' },
  routeLabel: {
    idle: 'not connected',
    busy: 'connecting',
    on: 'connected',
    broken: 'broken',
  },
  down: 'Down',
  up: 'Up',
  total: 'Carried',
  since: 'For',
  sinceUnit: { second: 's', minute: 'min', hour: 'h' },
  keepOpen: 'Keep this page open',
  keepOpenDetail: 'In front, with the screen on. When it is closed, your laptop is offline.',
  awake: {
    held: 'The screen stays on while this page is in front.',
    asked: 'The screen should stay on while this page is in front.',
    tap: 'Tap below, so that the screen stays on.',
    denied: 'This browser does not let the page keep the screen on: set the screen lock to “never” meanwhile.',
  },
  awakeButton: 'Keep the screen on',
  continueHere: 'Continue here',
  sealed: 'Everything is sealed between your laptop and the exit. This phone passes it on and cannot read it.',
} as const;
