/** The table of keys in docs/config.md, made of the definitions of the commands. */
import { LIVE_KEYS } from '../../src/cli/config/live.ts';
import { allSettings } from '../../src/cli/config/roles.ts';
import { ROLES, type Setting } from '../../src/cli/config/settings.ts';

const HEAD = '| key | for | value | variable | changes while it runs |\n| --- | --- | --- | --- | --- |\n';

const VALUES: Readonly<Record<Setting['kind'], string>> = {
  flag: 'true or false',
  text: 'text',
  number: 'number or text',
  list: 'list of texts',
  choice: 'true, false or text',
};

/** The page with the table as it must be. */
export function withKeys(page: string): string {
  return page.slice(0, page.indexOf(HEAD)) + HEAD + rows().join('\n').concat('\n');
}

function rows(): string[] {
  const settings = allSettings();
  const keys = new Map<string, Setting>();
  for (const role of ROLES)
    for (const setting of settings[role]) if (!keys.has(setting.key)) keys.set(setting.key, setting);
  return [...keys.values()].map(({ key, opposite, kind, option, variable }) => {
    const roles = ROLES.filter((role) => settings[role].some((setting) => setting.key === key));
    const live = roles.filter((role) => (LIVE_KEYS[role] as ReadonlySet<string>).has(key));
    const form = /[<[](.*)[>\]]/.exec(option.flags)?.[1]?.replaceAll('|', ' or ');
    const value = form === undefined || form === 'text' ? VALUES[kind] : `${VALUES[kind]}: ${form}`;
    const names = opposite === undefined ? `\`${key}\`` : `\`${key}\`, \`${opposite}\``;
    return `| ${names} | ${roles.join(', ')} | ${value} | \`${variable}\` | ${live.join(', ')} |`;
  });
}
