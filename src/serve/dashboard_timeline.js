// The time line of the recovery window. What comes from a repository is only ever set as text, never
// parsed as markup.
const byId = id => document.getElementById(id);
const build = (node, attributes, children) => {
	for (const [key, value] of Object.entries(attributes || {})) node.setAttribute(key, value);
	for (const child of children) node.append(child);
	return node;
};
const element = (name, attributes, ...children) => build(document.createElement(name), attributes, children);
const shape = (name, attributes, ...children) => build(document.createElementNS('http://www.w3.org/2000/svg', name), attributes, children);
// What is the same stays: somebody may be reading, copying or tabbing there.
const fill = (id, ...children) => {
	const box = byId(id).querySelector('div'), fresh = box.cloneNode(false);
	fresh.append(...children);
	if (!fresh.isEqualNode(box)) box.replaceChildren(...fresh.childNodes);
};
const pill = state => element('span', { class: 'pill ' + state }, state);
const action = (text, run) => { const node = element('button', { type: 'button' }, text); node.addEventListener('click', run); return node; };
// Narrow screens get a drawing of their own width, so that its letters keep their size.
const drawingWidth = () => Math.max(280, Math.min(1080, document.documentElement.clientWidth - (document.documentElement.clientWidth <= 640 ? 46 : 58)));

// A finger needs so much; marks that would be nearer to each other are one.
const kMarkPitch = 28, kGapWidth = 16;

function marker(type, x, y, size) {
	// The form tells the type as well as the colour does.
	if (type === 'full') return shape('rect', { x: x - size, y: y - size, width: 2 * size, height: 2 * size, rx: 2, class: 'f-full s-card' });
	if (type === 'diff') return shape('path', { d: `M${x} ${y - size * 1.2}L${x + size * 1.2} ${y}L${x} ${y + size * 1.2}L${x - size * 1.2} ${y}Z`, class: 'f-diff s-card' });
	return shape('circle', { cx: x, cy: y, r: size * 0.85, class: 'f-incr s-card' });
}

// Labels of the axis: a round step, so many as fit, and none twice.
const kSteps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 2 * 86400, 3 * 86400, 4 * 86400, 7 * 86400, 14 * 86400, 21 * 86400, 28 * 86400, 56 * 86400, 91 * 86400, 182 * 86400, 364 * 86400];
function ticks(from, to, width) {
	const count = Math.max(1, Math.floor(width / 105));
	const step = kSteps.find(one => (to - from) / one <= count) || kSteps[kSteps.length - 1];
	const days = to - from > 86400 * 0.75;
	const text = time => {
		const p = partsOf(time);
		if (step >= 364 * 86400) return p.y + '-' + p.mo + '-' + p.d;
		if (step >= 86400) return p.mo + '-' + p.d;
		return (days ? p.mo + '-' + p.d + ' ' : '') + p.h + ':' + p.mi + (step < 60 ? ':' + p.s : '');
	};
	const result = [], offset = partsOf(from).offset * 60;
	for (let time = Math.ceil((from + offset) / step) * step - offset; time <= to; time += step) {
		const label = text(time);
		if (!result.length || result[result.length - 1].label !== label) result.push({ time, label });
	}
	return result;
}
function axis(svg, from, to, left, right, y) {
	const x = time => left + (right - left) * (time - from) / (to - from);
	let end = -1;
	for (const { time, label } of ticks(from, to, right - left)) {
		const at = x(time), half = label.length * 3.4;
		const text = Math.min(Math.max(at, left + half), right - half);
		if (text - half < end + 8) continue;
		end = text + half;
		svg.append(shape('line', { x1: at, x2: at, y1: y, y2: y + 5, class: 's-line' }), shape('text', { x: text, y: y + 19, 'text-anchor': 'middle', class: 'tick' }, label));
	}
}

// Neighbours that are drawn as one: {items, x}, each at least `pitch` from the one before.
function cluster(items, x, pitch) {
	const groups = [];
	for (const item of items) {
		const at = x(item.time), last = groups[groups.length - 1];
		if (last && at - last.x < pitch) last.items.push(item); else groups.push({ x: at, items: [item] });
	}
	return groups;
}

let chosen = '', zoom = null;
function drawWindow() {
	const repos = latest.repositories;
	const windows = repos.map(repo => ({ repo, range: windowOf(repo) }));
	const known = windows.map(one => one.range).filter(one => one);
	const remembered = repos.filter(repo => !isReadable(repo) && repo.known_newest);
	if (!known.length && !repos.some(repo => !isReadable(repo))) return fill('window', element('p', { class: 'bad' }, 'There is no backup: nothing can be recovered.'));
	const now = Math.floor(nowTime());
	let from = Math.min(now - 60, ...known.map(one => one.from), ...remembered.map(repo => repo.known_newest));
	let to = Math.max(now, ...known.map(one => one.to));
	if (zoom) ({ from, to } = zoom);
	if (to - from < (zoom ? 10 : 60)) from = to - (zoom ? 10 : 60);
	const width = drawingWidth(), left = 8, right = width - 8, rowHeight = 86;
	const x = time => left + (right - left) * (Math.min(Math.max(time, from), to) - from) / (to - from);
	const svg = shape('svg', { viewBox: `0 0 ${width} ${windows.length * rowHeight + 30}`, role: 'group', 'aria-label': 'Time line of backups and of the WAL between them', id: 'timeline' });
	const detail = element('div', { class: 'detail', 'aria-live': 'polite' });
	const marks = [];
	const timeAt = event => {
		const box = svg.getBoundingClientRect();
		return Math.round(from + (to - from) * Math.min(1, Math.max(0, ((event.clientX - box.left) * width / box.width - left) / (right - left))));
	};
	const add = (node, text, key, time, show) => {
		build(node, { tabindex: '-1', role: 'button', 'aria-label': text }, [shape('title', {}, text)]);
		node.classList.add('mark');
		node.addEventListener('focus', () => { chosen = key; detail.replaceChildren(...show()); });
		node.addEventListener('click', () => node.focus());
		if (key === chosen) detail.replaceChildren(...show());
		marks.push({ node, time, key });
		svg.append(node);
	};
	windows.forEach(({ repo, range }, row) => drawRow(svg, { repo, range, x, from, to, left, right, y: row * rowHeight, add, timeAt }));
	if (momentTime && momentTime >= from && momentTime <= to) svg.append(shape('line', { x1: x(momentTime), x2: x(momentTime), y1: 18, y2: windows.length * rowHeight, class: 's-chosen', id: 'chosen-line' }));
	axis(svg, from, to, left, right, windows.length * rowHeight);
	if (!detail.firstChild) detail.append(element('span', { class: 'soft' }, 'Click or tap the bar for a moment, a mark for what it is. By keyboard: Tab, then the arrow keys.'));
	marks.sort((a, b) => a.time - b.time);
	const start = marks.find(one => one.key === chosen) || marks[marks.length - 1];
	if (start) start.node.setAttribute('tabindex', '0');
	svg.addEventListener('keydown', event => {
		const at = marks.findIndex(one => one.node === document.activeElement);
		const next = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: marks.length - 1 }[event.key];
		if (at >= 0 && (event.key === 'Enter' || event.key === ' ')) { event.preventDefault(); chooseMoment(Math.round(marks[at].time) + 1); return; }
		if (at < 0 || next === undefined || !marks[next]) return;
		event.preventDefault();
		marks[at].node.setAttribute('tabindex', '-1');
		marks[next].node.setAttribute('tabindex', '0');
		marks[next].node.focus();
	});
	const hadFocus = byId('timeline') && byId('timeline').contains(document.activeElement);
	const items = ['full', 'diff', 'incr'].map(type => [typeName[type], marker(type, 7, 7, 5)]).concat([
		['can be reached', shape('rect', { x: 0, y: 3, width: 14, height: 8, rx: 2, class: 'f-window' })],
		['gap: cannot', shape('rect', { x: 1, y: 1, width: 12, height: 12, class: 'f-gap' })], ['not known', shape('rect', { x: 1, y: 2, width: 12, height: 10, class: 'f-unknown' })]]);
	const back = zoom ? [action('Show the whole window', () => { zoom = null; draw(); })] : [];
	fill('window', element('p', { class: 'soft' }, 'Times are in ' + zoneName(now) + '. A number is that of backups too close to each other to be drawn alone.'), ...back, svg, legend(items), detail);
	if (hadFocus && start) start.node.focus();
}

function drawRow(svg, { repo, range, x, from, to, left, right, y, add, timeAt }) {
	const bar = y + 24, lane = y + 64;
	svg.append(shape('text', { x: left, y: y + 14, class: 'name' }, 'repo' + repo.key));
	const note = (text, alarm) => svg.append(shape('text', { x: left + 48, y: y + 14, class: alarm ? 'alarm row-note' : 'row-note' }, text));
	if (!isReadable(repo)) {
		const since = repo.failing_since ? 'since ' + when(repo.failing_since) + ' (' + span(nowTime() - repo.failing_since) + ')' : '';
		note('unreachable ' + since, true);
		const text = 'repo' + repo.key + ' cannot be read ' + since + ': ' + (repo.problem || whyUnknown('repositories')) + '. ' + (repo.read_at ? 'When it was last read, ' + span(nowTime() - repo.read_at) + ' ago, it had ' + plural(repo.known_backups, 'backup') + (repo.known_newest ? ' and WAL up to ' + when(repo.known_newest) : '') + '. What it holds now is not known.' : 'It has not been read yet.');
		add(shape('g', { class: 'unreadable' }, shape('rect', { x: left, y: bar, width: right - left, height: 22, rx: 4, class: 'f-unknown' }), shape('text', { x: (left + right) / 2, y: bar + 15, 'text-anchor': 'middle' }, 'not known')), text, 'unreadable' + repo.key, to, () => [element('p', {}, text)]);
		const short = right - left < 500;
		svg.append(shape('text', { x: left, y: bar + 40, class: 'memory' }, repo.read_at ? 'last read ' + span(nowTime() - repo.read_at) + ' ago: ' + plural(repo.known_backups, 'backup') + (repo.known_newest ? (short ? ', to ' : ', WAL up to ') + when(repo.known_newest) : '') : 'it has not been read yet'));
		return;
	}
	if (!range) return note('no backup', true);
	const gaps = range.gaps.length;
	note((right - left > 500 ? plural(repo.backups.length, 'backup') + ', ' : '') + (range.openGap ? 'nothing after ' + when(range.openGap.from) + ' can be reached' : gaps ? plural(gaps, 'gap') : 'without gaps') + (range.openGap ? '' : ', up to ' + when(range.to)), gaps > 0);
	const track = shape('g', { class: 'window-bar' }, shape('rect', { x: left, y: bar - 6, width: right - left, height: 34, class: 'f-none' }), shape('rect', { x: left, y: bar, width: right - left, height: 22, rx: 4, class: 'f-track' }), shape('title', {}, 'Click for a moment to restore to'));
	for (const one of range.spans) if (one.to >= from && one.from <= to) track.append(shape('rect', { x: x(one.from), y: bar, width: Math.max(3, x(one.to) - x(one.from)), height: 22, rx: 4, class: 'f-window' }));
	track.addEventListener('click', event => chooseMoment(timeAt(event)));
	svg.append(track);
	const shown = range.gaps.filter(one => one.to >= from && one.from <= to).map(one => ({ ...one, time: one.from }));
	for (const group of cluster(shown, x, kMarkPitch)) {
		const last = group.items[group.items.length - 1], first = group.items[0];
		const wide = Math.max(kGapWidth, x(last.to) - x(first.from)), at = Math.min(x(first.from), right - wide);
		const text = group.items.length === 1 ? gapText(first, repo) : plural(group.items.length, 'gap') + ' in repo' + repo.key + ' between ' + when(first.from) + ' and ' + when(last.to);
		add(shape('g', { class: 'gap-mark' }, shape('rect', { x: at - 5, y: bar - 8, width: wide + 10, height: 38, class: 'f-none' }), shape('rect', { x: at, y: bar - 4, width: wide, height: 30, rx: 3, class: 'f-gap' })), text, 'gap' + repo.key + first.gap.first, first.from,
			() => [element('ul', {}, ...group.items.slice(0, 50).map(one => element('li', {}, gapText(one, repo)))), ...edges(first, last, repo), ...zoomTo(group.items.length > 1, first.from, last.to)]);
	}
	const backups = repo.backups.filter(one => one.stop >= from && one.stop <= to).map(backup => ({ backup, time: backup.stop })).sort((a, b) => a.time - b.time);
	for (const group of cluster(backups, x, kMarkPitch)) {
		const at = Math.min(Math.max(group.x, left + 4), right - 4), list = group.items.map(one => one.backup);
		const node = shape('g', { class: 'backup-mark' }, shape('circle', { cx: at, cy: lane, r: 13, class: 'f-none' }));
		if (list.length === 1) {
			add((node.append(marker(list[0].type, at, lane, 7)), node), describe(list[0], repo), 'backup' + repo.key + list[0].label, list[0].stop, () => backupDetail(list[0], repo));
			continue;
		}
		const best = ['full', 'diff', 'incr'].find(type => list.some(one => one.type === type));
		const text = plural(list.length, 'backup') + ' in repo' + repo.key + ', ended between ' + when(list[0].stop) + ' and ' + when(list[list.length - 1].stop) + ': ' + ['full', 'diff', 'incr'].map(type => [type, list.filter(one => one.type === type).length]).filter(one => one[1]).map(([type, count]) => count + ' ' + typeName[type]).join(', ');
		node.append(marker(best, at, lane, 11), shape('text', { x: at, y: lane + 4, 'text-anchor': 'middle', class: 'count' }, list.length > 99 ? '99+' : list.length));
		add(node, text, 'backups' + repo.key + list[0].label, list[0].stop, () => [element('p', {}, text + '.'),
			element('ul', {}, ...list.slice().reverse().slice(0, 100).map(one => element('li', {}, describe(one, repo)))), ...zoomTo(true, list[0].stop, list[list.length - 1].stop)]);
	}
}

function zoomTo(useful, from, to) {
	const margin = Math.max(3, (to - from) * 0.1);
	return useful ? [action('Look closer', () => { zoom = { from: from - margin, to: to + margin }; draw(); })] : [];
}
function gapText({ gap, from, to, open }, repo) {
	return 'Gap in repo' + repo.key + ': ' + plural(gap.segments, 'WAL segment') + ' missing from ' + gap.first + ' on' + (gap.backup ? ', needed by backup ' + gap.backup : '') + '. Moments after ' + when(from) + (open ? ' cannot be reached: no backup was taken behind it. Take one now.' : ' and before the end of backup ' + gap.next_backup + ', ' + when(to) + ', cannot be reached.');
}
const edges = (first, last, repo) => [...(windowOf(repo).spans.some(one => one.to === first.from) ? [action('Restore to just before', () => chooseMoment(first.from))] : []), ...(last.open ? [] : [action('Restore to just after', () => chooseMoment(last.to + 1))])];
function backupDetail(backup, repo) {
	const hold = holdOf(repo, backup), notes = annotationText(backup);
	return [element('p', {}, describe(backup, repo)), ...(hold ? [element('p', {}, 'Held since ' + when(hold.since) + (hold.reason ? ': ' + hold.reason : ''))] : []), ...(notes ? [element('p', {}, 'Annotations: ' + notes)] : []),
		...(windowOf(repo).broken.has(backup.label) ? [element('p', { class: 'bad' }, 'WAL that it needs is missing: it cannot be restored.')] : commandLines(repo, ['--set=' + backup.label, '--type=immediate'], 'as it was at the end of this backup'))];
}
function legend(items) {
	return element('div', { class: 'legend' }, ...items.map(([text, drawing]) => element('span', {}, shape('svg', { viewBox: '0 0 14 14', 'aria-hidden': 'true' }, drawing), text)));
}

// The moment to restore to.
let momentTime = 0, momentLatest = false;
function chooseMoment(time) {
	momentTime = time;
	momentLatest = false;
	byId('when').value = fieldText(time);
	draw();
	byId('moment').scrollIntoView({ block: 'nearest' });
}
function commandBox(text, id) {
	const box = element('pre', { tabindex: '0', class: 'copyable', ...(id ? { id } : {}) }, text);
	const button = action('Copy', async () => {
		const selection = getSelection(), range = document.createRange();
		range.selectNodeContents(box);
		selection.removeAllRanges();
		selection.addRange(range);
		let done = false;
		try { await navigator.clipboard.writeText(text); done = true; } catch (error) { done = document.execCommand('copy'); }
		button.textContent = done ? 'Copied' : 'Selected: Ctrl-C';
		setTimeout(() => { button.textContent = 'Copy'; }, 2500);
	});
	button.setAttribute('aria-label', 'Copy the command: ' + text);
	return element('div', { class: 'command' }, box, button);
}
function commandLines(repo, options, what, id) {
	return [element('p', { class: 'soft' }, 'First the plan, which changes nothing (' + what + '):'), commandBox(restoreCommand(repo, options, ['--plan']), id ? id + '-plan' : ''),
		element('p', { class: 'soft' }, 'Then, with the server stopped, the restore; it keeps the present data directory aside:'), commandBox(restoreCommand(repo, options, ['--save-current']), id ? id + '-restore' : '')];
}
function drawMoment() {
	byId('when-zone').textContent = 'in ' + zoneName(nowTime());
	if (momentLatest) {
		const good = readable().filter(repo => { const range = windowOf(repo); return range && !range.openGap && range.spans.length; });
		if (!good.length) return fill('moment', element('p', { class: 'bad' }, 'No repository leads to the end of its WAL.'), ...latest.repositories.map(repo => element('p', {}, momentProblem(repo, nowTime()))));
		return fill('moment', ...good.flatMap(repo => [element('h3', {}, 'repo' + repo.key + ': to the last transaction in its archive, about ' + exact(windowOf(repo).to)), ...commandLines(repo, [], 'to the end of the WAL', 'command' + repo.key)]));
	}
	if (!momentTime) return fill('moment', element('p', { class: 'soft' }, 'Choose a moment here or in the time line above: the command to copy is shown, or why the moment cannot be reached.'));
	const parts = [];
	for (const repo of latest.repositories) {
		const found = reach(repo, momentTime);
		if (found.base) {
			parts.push(element('h3', {}, 'repo' + repo.key + ' can: ' + exact(momentTime)), element('p', { class: 'soft' }, 'From backup ' + found.base.label + ' of ' + when(found.base.stop) + ', then ' + span(momentTime - found.base.stop) + ' of WAL. The server pauses there, read-only.'),
				...commandLines(repo, ['--type=time', '--target=' + target(momentTime)], 'to ' + target(momentTime), 'command' + repo.key));
		} else {
			parts.push(element('h3', { class: found.unknown ? '' : 'bad' }, 'repo' + repo.key + (found.unknown ? ': not known' : ' cannot: ' + exact(momentTime))), element('p', { class: 'cannot' }, momentProblem(repo, momentTime)));
			if (found.near && found.near.length) parts.push(element('p', { class: 'near' }, 'Nearest that can be reached: ', ...found.near.map(one => action(exact(one.time) + ', ' + one.name, () => chooseMoment(one.time)))));
		}
	}
	fill('moment', ...parts);
}
function momentProblem(repo, time) {
	const found = reach(repo, time);
	return 'repo' + repo.key + (found.unknown ? ' is not known to reach it, ' : ' cannot reach it: ') + found.why + '.';
}
