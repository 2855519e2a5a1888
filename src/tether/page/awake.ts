/**
 * Keeps the screen on, as far as the browser allows a page that came over http. The Wake Lock API is only for https
 * pages, so usually a silent video plays. Browsers keep the screen on for a video with these properties:
 *  - Chromium: visible, and larger than a fifth of the window. So it fills the window, almost transparent, in the
 *    background.
 *  - Firefox: a sound track. So it has a silent one.
 *  - Safari: a sound track, not muted, and no `loop` attribute. So a script rewinds it, and unmutes it after a tap.
 */
import movie from './awake.mp4';

/** `held`: by the system. `asked`: a video plays, which should be enough. `tap`: it may after a tap. `denied`: not. */
export type Awake = 'held' | 'asked' | 'tap' | 'denied';

const isSafari = /AppleWebKit/.test(navigator.userAgent) && !/Chrom(e|ium)|Android/.test(navigator.userAgent);

export class KeepAwake {
  constructor(
    private readonly video: HTMLVideoElement,
    private readonly onChange: (awake: Awake) => void,
  ) {
    video.muted = true;
    video.loop = !isSafari;
    video.src = movie;
    video.addEventListener('timeupdate', () => {
      if (isSafari && video.currentTime > video.duration / 2) video.currentTime = 0;
    });
    // The system stops both when the page is hidden.
    document.addEventListener('visibilitychange', () => {
      if (document.visibilityState === 'visible') void this.start(false);
    });
  }

  /** @param tapped called within a person's tap, when a browser allows more */
  async start(tapped: boolean): Promise<void> {
    if (await this.lock()) return this.onChange('held');
    if (isSafari && tapped) this.video.muted = false;
    try {
      await this.video.play();
      this.onChange(isSafari && this.video.muted ? 'tap' : 'asked');
    } catch {
      this.onChange(tapped ? 'denied' : 'tap');
    }
  }

  private async lock(): Promise<boolean> {
    if (!('wakeLock' in navigator)) return false;
    try {
      await navigator.wakeLock.request('screen');
      return true;
    } catch {
      return false;
    }
  }
}
