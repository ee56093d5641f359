'use strict';
// What is known, and how it is said. Nothing here touches the document.
const typeName = { full: 'full', diff: 'differential', incr: 'incremental' };
const plural = (count, one, many) => count + ' ' + (count === 1 ? one : many || one + 's');

// As `chronos info` and the rules print sizes: 1 KB is 1024 bytes.
const bytes = count => {
	if (count < 1024) return Math.round(count) + 'B';
	const units = ['KB', 'MB', 'GB'];
	let unit = 0, scale = 1024;
	while (unit < 2 && count >= scale * 1024) { scale *= 1024; ++unit; }
	return (Math.round(count / scale * 10) / 10) + units[unit];
};
const span = seconds => {
	seconds = Math.max(0, Math.round(seconds));
	const d = Math.floor(seconds / 86400), h = Math.floor(seconds / 3600) % 24, m = Math.floor(seconds / 60) % 60;
	if (d) return d + 'd' + (h ? ' ' + h + 'h' : '');
	if (h) return h + 'h' + (m ? ' ' + m + 'm' : '');
	if (m) return m + 'm' + (seconds % 60 ? ' ' + seconds % 60 + 's' : '');
	return seconds + 's';
};

// Times: always with the date from the largest unit down, in one zone that the page names.
let utc = false;
const two = number => String(number).padStart(2, '0');
function partsOf(time) {
	const date = new Date(time * 1000);
	const get = name => utc ? date['getUTC' + name]() : date['get' + name]();
	return { y: get('FullYear'), mo: two(get('Month') + 1), d: two(get('Date')), h: two(get('Hours')), mi: two(get('Minutes')), s: two(get('Seconds')), offset: utc ? 0 : -date.getTimezoneOffset() };
}
const offsetText = minutes => (minutes < 0 ? '-' : '+') + two(Math.floor(Math.abs(minutes) / 60)) + (minutes % 60 ? ':' + two(Math.abs(minutes) % 60) : '');
const day = time => { const p = partsOf(time); return p.mo + '-' + p.d; };
const when = time => { const p = partsOf(time); return `${p.y}-${p.mo}-${p.d} ${p.h}:${p.mi}`; };
const exact = time => when(time) + ':' + partsOf(time).s;
// For --target: an instant, whoever reads it wherever.
const target = time => exact(time) + offsetText(partsOf(time).offset);
const zoneName = time => utc ? 'UTC' : (Intl.DateTimeFormat().resolvedOptions().timeZone || 'local') + ' (UTC' + offsetText(partsOf(time).offset) + ')';
function fieldText(time) { const p = partsOf(time); return `${p.y}-${p.mo}-${p.d}T${p.h}:${p.mi}:${p.s}`; }
const parseField = text => Math.floor(new Date(utc ? text + 'Z' : text).getTime() / 1000);

// The clock of the page is that of the server when it answered, and from then on one that nobody sets.
let latest = null, receivedAt = 0;
const elapsed = () => (performance.now() - receivedAt) / 1000;
const nowTime = () => latest.now + elapsed();
const ageOf = name => latest.facts[name].age + elapsed();
const isKnown = name => latest.facts[name].known && ageOf(name) <= latest.facts[name].limit;
const isExpected = name => latest.facts[name].expected;
const whyUnknown = name => latest.facts[name].problem || 'nothing has been heard for ' + span(ageOf(name));

const severity = { ok: 0, unknown: 1, warning: 2, critical: 3 };
// One rule for how bad it is: the worst of the health rules. What is too old is unknown.
function overallState() {
	if (!isKnown('repositories')) return 'unknown';
	return latest.rules.reduce((worst, rule) => rule.state !== 'unknown' && severity[rule.state] > severity[worst] ? rule.state : worst, 'ok');
}
const stateWord = { ok: 'healthy', warning: 'degraded', critical: 'unhealthy', unknown: 'unknown' };

const isReadable = repo => !repo.problem && isKnown('repositories');
const readable = () => latest.repositories.filter(isReadable);

// Of a readable repository: from when to when, and what in between cannot be reached. A gap begins
// where the last segment before it was stored, and ends with the first backup behind it.
function windowOf(repo) {
	if (!isReadable(repo) || !repo.backups.length) return null;
	const stopOf = label => (repo.backups.find(one => one.label === label) || {}).stop;
	const newest = Math.max(...repo.backups.map(one => one.stop), ...repo.archives.map(one => one.newest || 0));
	const broken = new Set();
	const gaps = [];
	for (const archive of repo.archives) for (const gap of archive.gaps) {
		const needing = repo.backups.find(one => one.label === gap.backup);
		if (needing) broken.add(needing.label);
		const begin = gap.from || (needing ? needing.start : repo.backups[0].start);
		gaps.push({ gap, from: begin, to: Math.max(begin, stopOf(gap.next_backup) || newest), open: !gap.next_backup });
	}
	gaps.sort((a, b) => a.from - b.from);
	const usable = repo.backups.filter(one => !broken.has(one.label));
	const from = usable.length ? Math.min(...usable.map(one => one.stop)) : newest;
	const spans = [];
	let at = from;
	for (const one of gaps) {
		if (one.from > at) spans.push({ from: at, to: one.from });
		at = Math.max(at, one.to);
	}
	const openGap = gaps.find(one => one.open);
	if (usable.length && newest >= at && !openGap) spans.push({ from: at, to: newest });
	return { from: Math.min(...repo.backups.map(one => one.stop)), to: newest, spans, gaps, broken, openGap };
}

// Whether a moment can be reached in a repository; why not, and what can be nearby.
function reach(repo, time) {
	if (!isReadable(repo)) return { unknown: true, why: repo.problem ? 'it cannot be read: ' + repo.problem : whyUnknown('repositories') };
	const range = windowOf(repo);
	if (!range) return { why: 'it has no backup' };
	if (range.spans.some(one => time > one.from && time <= one.to)) {
		const base = repo.backups.filter(one => one.stop < time && !range.broken.has(one.label)).reduce((best, one) => !best || one.stop > best.stop ? one : best, null);
		if (base) return { base };
	}
	const near = [];
	const before = range.spans.filter(one => one.to < time && one.to > one.from).pop();
	const after = range.spans.find(one => one.from >= time);
	if (before) near.push({ time: before.to, name: 'the last before it' });
	if (after) near.push({ time: after.from + 1, name: 'the first after it' });
	const gap = range.gaps.find(one => time > one.from && time <= one.to);
	if (gap) return { near, gap, why: `it lies within a gap: ${plural(gap.gap.segments, 'WAL segment')} from ${gap.gap.first} on ${gap.gap.segments === 1 ? 'is' : 'are'} missing, and no backup behind ${gap.open ? 'it exists' : 'it had ended yet'}` };
	if (time > range.to) return { near, why: 'it is later than the last WAL there, of ' + exact(range.to) };
	return { near, why: 'it is before the end of the oldest backup that can be used' };
}

const quote = word => /^[A-Za-z0-9_.\/:,@+=-]+$/.test(word) ? word : "'" + word.replace(/'/g, "'\\''") + "'";
// "--name='value'": only the value in quotes, as people write it.
const quoteOption = option => {
	const equal = option.indexOf('=');
	return equal < 0 ? quote(option) : option.slice(0, equal + 1) + quote(option.slice(equal + 1));
};
function restoreCommand(repo, options, end) {
	const all = [...latest.restore_options];
	if (latest.repositories.length > 1) all.push('--repo=' + repo.key);
	return ['chronos', ...all.concat(options).map(quoteOption), 'restore', ...end].join(' ');
}

function describe(backup, repo) {
	return backup.label + ' (' + typeName[backup.type] + ', repo' + repo.key + '): ended ' + when(backup.stop) + ', took ' + span(backup.stop - backup.start) + ', database ' + bytes(backup.size) + ', stored ' + bytes(backup.repo_delta) + (backup.page_errors ? ', has page checksum errors' : '');
}
const holdOf = (repo, backup) => repo.holds.find(one => one.label === backup.label);
const annotationText = backup => Object.entries(backup.annotations || {}).map(([key, value]) => key + '=' + value).join(', ');

const isActive = job => !job.finished_at;
const activeJobs = () => isKnown('jobs') ? latest.jobs.filter(isActive).sort((a, b) => a.requested_at - b.requested_at) : [];
