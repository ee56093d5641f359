// The rest of the page: one function a card, all of them from the same facts.
function showAge(id, name, stale) {
	const node = byId(id).querySelector('.age');
	if (!isExpected(name)) { node.textContent = ''; return; }
	const known = isKnown(name);
	node.textContent = known ? 'as of ' + span(ageOf(name)) + ' ago' : (stale || 'not known') + (latest.facts[name].at ? ', last heard ' + span(ageOf(name)) + ' ago' : '');
	node.className = known ? 'age' : 'age stale';
}
const unknownNote = name => element('p', {}, pill('unknown'), ' ' + (isExpected(name) ? whyUnknown(name) + '.' : 'The server is not asked: this was started without its data directory (pg1-path).'));

// A table that becomes a list on a narrow screen; what is beyond `first` rows is folded, and says so.
const opened = new Set();
function table(key, columns, rows, first) {
	const head = element('thead', {}, element('tr', {}, ...columns.map(one => element('th', { scope: 'col', class: one.class || '' }, one.name))));
	const row = cells => element('tr', {}, ...cells.map((cell, i) => element('td', { class: columns[i].class || '', 'data-name': columns[i].silent ? '' : columns[i].name }, ...(Array.isArray(cell) ? cell : [cell]))));
	const cut = rows.length > first && !opened.has(key);
	const result = [element('table', {}, head, element('tbody', {}, ...(cut ? rows.slice(0, first) : rows).map(row)))];
	for (const cell of result[0].querySelectorAll('td[data-name=""]')) cell.removeAttribute('data-name');
	if (cut) result.push(action('Show ' + plural(rows.length - first, 'more row'), () => { opened.add(key); draw(); }));
	return result;
}

function drawVerdict() {
	const state = overallState();
	const order = [...latest.rules].filter(rule => rule.state === 'critical' || rule.state === 'warning').sort((a, b) => severity[b.state] - severity[a.state]);
	byId('verdict').className = 'card state-' + state;
	const lines = order.map(rule => element('li', {}, pill(rule.state), ' ', element('span', { class: 'label' }, rule.rule), ' ' + rule.message + (rule.since ? ' (since ' + when(rule.since) + ', ' + span(nowTime() - rule.since) + ')' : '')));
	if (state === 'unknown') lines.unshift(element('li', {}, pill('unknown'), ' Nothing here is current: ' + whyUnknown('repositories') + '.'));
	const unknown = latest.rules.filter(rule => rule.state === 'unknown').map(rule => rule.rule);
	if (!lines.length) lines.push(element('li', {}, pill('ok'), ' No rule finds anything wrong.'));
	if (unknown.length) lines.push(element('li', { class: 'soft' }, 'Nothing can be said about: ' + unknown.join(', ') + '.'));
	fill('verdict', element('ul', {}, ...lines));
}

function tile(name, big, note, bad) {
	return element('p', { class: 'card tile' + (bad ? ' bad-tile' : '') }, element('span', { class: 'name' }, name), element('br'),
		element('span', { class: 'big' + (bad ? ' bad' : '') }, big), element('br'), element('span', { class: 'soft' }, note));
}
function windowTile() {
	const windows = readable().map(repo => ({ repo, range: windowOf(repo) })).filter(one => one.range && one.range.spans.length);
	if (!readable().length) return tile('Recovery window', 'not known', 'no repository can be read', true);
	if (!windows.length) return tile('Recovery window', 'none', 'nothing can be recovered', true);
	// The repository that leads furthest; its gaps are taken away.
	const reachOf = one => one.range.spans[one.range.spans.length - 1].to;
	const best = windows.reduce((a, b) => reachOf(b) > reachOf(a) || (reachOf(b) === reachOf(a) && total(b) > total(a)) ? b : a);
	function total(one) { return one.range.spans.reduce((sum, part) => sum + part.to - part.from, 0); }
	const gaps = best.range.gaps.length;
	const from = best.range.spans[0].from;
	return tile('Recovery window', span(total(best)), (latest.repositories.length > 1 ? 'repo' + best.repo.key + ': ' : '') + when(from) + ' to ' + when(reachOf(best)) + (gaps ? ', less ' + plural(gaps, 'gap') : ''), gaps > 0);
}
function drawTiles() {
	const repos = readable();
	const all = repos.flatMap(repo => repo.backups.map(backup => ({ backup, repo })));
	const last = all.reduce((best, one) => !best || one.backup.stop > best.backup.stop ? one : best, null);
	const newest = Math.max(0, ...repos.map(repo => (windowOf(repo) || { to: 0 }).to));
	const size = repos.reduce((sum, repo) => Math.max(sum, repo.backup_bytes + repo.wal_bytes), 0);
	const server = isKnown('server') ? latest.server : null;
	const next = isKnown('schedules') ? latest.schedules.filter(one => one.enabled && one.next_run).sort((a, b) => a.next_run - b.next_run)[0] : null;
	const tiles = [
		!repos.length ? tile('Last backup', 'not known', 'no repository can be read', true)
			: last ? tile('Last backup', span(nowTime() - last.backup.stop) + ' ago', typeName[last.backup.type] + ', repo' + last.repo.key + ', took ' + span(last.backup.stop - last.backup.start)) : tile('Last backup', 'none', 'nothing can be restored', true),
		windowTile(),
		server ? tile('At risk now', span(server.data_loss_seconds), plural(server.ready_segments, 'WAL file') + ' waiting')
			: isExpected('server') ? tile('At risk now', 'not known', whyUnknown('server'), true) : tile('Last WAL', newest ? span(nowTime() - newest) + ' ago' : repos.length ? 'none' : 'not known', 'the server is not asked'),
		isExpected('schedules') ? (next ? tile('Next scheduled', dueText(next.next_run), next.type + ', ' + next.name) : tile('Next scheduled', isKnown('schedules') ? 'none' : 'not known', isKnown('schedules') ? 'no schedule is enabled' : whyUnknown('schedules'))) : '',
		tile('Stored', repos.length ? bytes(size) : 'not known', repos.length > 1 ? 'largest of ' + plural(repos.length, 'repository', 'repositories') : repos.length ? plural(all.length, 'backup') + ' and their WAL' : 'no repository can be read')];
	byId('tiles').replaceChildren(...tiles.filter(one => one));
}
const dueText = time => time >= nowTime() ? 'in ' + span(time - nowTime()) : span(nowTime() - time) + ' overdue';

// Rate and time left of what tells no begin: from what this page has seen itself.
const seen = new Map();
function rateOf(key, done) {
	const now = performance.now() / 1000, first = seen.get(key);
	if (!first || done < first.done) { seen.set(key, { done, now }); return 0; }
	return now - first.now > 2 ? (done - first.done) / (now - first.now) : 0;
}
function progressText(done, total, rate) {
	const parts = [total ? bytes(done) + ' of ' + bytes(total) + ' (' + Math.floor(100 * Math.min(done, total) / total) + '%)' : done ? bytes(done) : 'has begun'];
	if (rate > 0) parts.push(bytes(rate) + '/s');
	if (rate > 0 && total > done) parts.push(span((total - done) / rate) + ' left at that rate');
	return parts.join(', ');
}
function progressBar(done, total, text) {
	const bar = element('progress', { class: 'bar', max: total || 1, 'aria-label': text });
	if (total) bar.value = Math.min(done, total);
	return bar;
}
function drawRunning() {
	const jobs = activeJobs(), parts = [];
	for (const job of jobs.filter(one => one.state === 'running')) {
		const begun = job.phase_started_at || job.started_at;
		const rate = job.bytes_done && begun ? job.bytes_done / Math.max(1, latest.now - latest.facts.jobs.age - begun) : 0;
		const text = progressText(job.bytes_done, job.bytes_total, rate);
		parts.push(element('div', { class: 'job' }, element('p', {}, element('strong', {}, 'Job ' + job.id + ': ' + job.type), ' ' + (job.phase ? 'phase ' + job.phase + ', ' : '') + text + (job.started_at ? '; runs for ' + span(nowTime() - job.started_at) : '') + (job.schedule ? ', schedule ' + job.schedule : '') + (job.requested_by ? ', asked for by ' + job.requested_by : '')), job.still_for ? element('p', { class: 'bad' }, 'It stands still: a sign of its engine has been due for ' + span(job.still_for) + '. Look at the storage that it reads or writes; ', element('code', {}, 'SELECT chronos.cancel(' + job.id + ')'), ' ends it.') : '', progressBar(job.bytes_done, job.bytes_total, text)));
	}
	const isBackup = job => ['full', 'diff', 'incr'].includes(job.type);
	if (!jobs.some(one => one.state === 'running' && isBackup(one))) for (const backup of latest.running) {
		const done = backup.bytes_done || 0, text = progressText(done, backup.bytes_total, rateOf('lock' + backup.repo, done));
		parts.push(element('div', { class: 'job' }, element('p', {}, element('strong', {}, 'Backup or expire, repo' + backup.repo), ' ' + text + ', as its lock file says'), progressBar(done, backup.bytes_total, text)));
	}
	for (const one of latest.completing) {
		const done = one.left_bytes - one.missing_bytes;
		const text = one.problem || (one.whole ? 'is whole; its mount ends when no server runs there' : progressText(done, one.left_bytes, one.bytes_per_second) + (one.waits_for_room ? ', waits for room on its disk' : ''));
		parts.push(element('div', { class: 'job' }, element('p', {}, element('strong', {}, 'Restore of ' + one.label + ', repo' + one.repo), ' in ', element('span', { class: 'label' }, one.path), ': ', element('span', { class: one.problem ? 'bad' : '' }, text)), one.problem ? '' : progressBar(done, one.left_bytes, text)));
	}
	const waiting = jobs.filter(one => one.state !== 'running');
	if (waiting.length) parts.push(element('p', {}, element('strong', {}, plural(waiting.length, 'job') + ' waiting: '), waiting.map(job => 'job ' + job.id + ' (' + job.type + (job.requested_at ? ', for ' + span(nowTime() - job.requested_at) : '') + ')').join(', ')));
	if (isExpected('jobs') && !isKnown('jobs')) parts.push(unknownNote('jobs'));
	if (!parts.length) parts.push(element('p', { class: 'soft' }, isExpected('jobs') ? 'Nothing runs, and nothing waits.' : 'No backup or expire holds its lock on this host. Jobs of the server are not asked for.'));
	fill('running', ...parts);
}

function drawRules() {
	const order = { critical: 0, warning: 1, unknown: 2, ok: 3 };
	const stale = !isKnown('repositories');
	const rows = [...latest.rules].sort((a, b) => order[a.state] - order[b.state]).map(rule => [
		pill(stale ? 'unknown' : rule.state), rule.rule, [rule.message, ...(rule.hint ? [element('div', { class: 'hint' }, rule.hint)] : [])],
		rule.value ? rule.value + (rule.threshold ? ' (limit ' + rule.threshold + ')' : '') : '',
		rule.since && rule.state !== 'ok' && rule.state !== 'unknown' ? when(rule.since) + ' (' + span(nowTime() - rule.since) + ')' : '']);
	fill('rules', ...table('rules', [{ name: 'State', silent: true }, { name: 'Rule', class: 'label rule', silent: true }, { name: 'What it says', silent: true }, { name: 'Value', class: 'number soft' }, { name: 'Since', class: 'soft' }], rows, 100));
}

function drawSchedules() {
	byId('schedules').hidden = !isExpected('schedules');
	if (!isKnown('schedules')) return fill('schedules', unknownNote('schedules'));
	const rows = latest.schedules.map(one => [one.name, one.type, one.enabled ? (one.next_run ? when(one.next_run) + ' (' + dueText(one.next_run) + ')' : 'never') : 'switched off', one.cron + (one.timezone ? ' ' + one.timezone : ''), outcome(one.last_state, one.last_error, one.last_due)]);
	fill('schedules', ...(rows.length ? table('schedules', [{ name: 'Schedule', class: 'label' }, { name: 'Type', class: 'nowrap' }, { name: 'Next' }, { name: 'Expression', class: 'label' }, { name: 'Last' }], rows, 12) : [element('p', { class: 'soft' }, 'There are no schedules: backups are taken only when somebody asks.')]));
}
function outcome(state, error, at) {
	if (!state) return '';
	return [element('span', { class: state === 'failed' ? 'bad' : '' }, state), at ? ', ' + when(at) : '', ...(error ? [element('div', { class: 'hint' }, error)] : [])];
}
function drawJobs() {
	byId('jobs').hidden = !isExpected('jobs');
	if (!isKnown('jobs')) return fill('jobs', unknownNote('jobs'));
	const rows = latest.jobs.filter(job => !isActive(job)).sort((a, b) => b.finished_at - a.finished_at).map(job => [String(job.id), job.type, element('span', { class: job.state === 'failed' ? 'bad' : '' }, job.state), when(job.finished_at), job.started_at ? span(job.finished_at - job.started_at) : '',
		[element('span', { class: 'label' }, job.label), ...(job.error ? [element('div', {}, job.error)] : []), ...(job.hint ? [element('div', { class: 'hint' }, job.hint)] : [])], job.schedule || job.requested_by]);
	fill('jobs', ...(rows.length ? table('jobs', [{ name: 'Job', class: 'nowrap' }, { name: 'Type', class: 'nowrap' }, { name: 'Outcome', class: 'nowrap' }, { name: 'Ended', class: 'nowrap' }, { name: 'Took', class: 'number' }, { name: 'Result' }, { name: 'Asked for by' }], rows, 8) : [element('p', { class: 'soft' }, 'No job has ended yet.')]));
}

/// The last ones of what was proved again and again, a mark each.
function proofStrip(runs, what, isGood, outcome) {
	const width = drawingWidth(), shown = runs.slice(-Math.max(5, Math.floor(width / kMarkPitch)));
	const svg = shape('svg', { viewBox: `0 0 ${width} 28`, role: 'img', 'aria-label': 'The last ' + plural(shown.length, what) + ', the newest at the right: ' + shown.map(outcome).join(', ') });
	shown.forEach((one, i) => svg.append(shape('g', {}, isGood(one) ? shape('circle', { cx: i * kMarkPitch + 13, cy: 14, r: 9, class: 'f-ok' }) : shape('rect', { x: i * kMarkPitch + 4, y: 5, width: 18, height: 18, rx: 2, class: 'f-gap' }), shape('title', {}, when(one.finished_at) + ': ' + outcome(one)))));
	return svg;
}
function drawProof() {
	const parts = [];
	for (const repo of latest.repositories) {
		parts.push(element('h3', {}, 'repo' + repo.key));
		if (!isReadable(repo)) { parts.push(element('p', {}, pill('unknown'), ' it cannot be read')); continue; }
		const verify = repo.verify;
		parts.push(element('p', { class: 'verify' }, verify ? element('span', { class: verify.problems ? 'bad' : '' }, verify.problems ? 'Verify found ' + plural(verify.problems, 'problem') : 'Verify found nothing wrong') : 'Verify: never',
			verify ? ' ' + span(nowTime() - verify.finished_at) + ' ago, ' + when(verify.finished_at) + (verify.full ? ', everything read' : '') + (verify.backups ? ', ' + plural(verify.backups, 'backup') + ' and ' + plural(verify.wal_segments, 'WAL segment') : '') + (verify.problems && verify.message ? '. The first: ' + verify.message : '') : ' has the whole stanza been read back.'));
		const unfinished = repo.unfinished_verify;
		if (unfinished) parts.push(element('p', { class: 'verify' }, element('span', { class: 'bad' }, 'The last verify did not come to its end'), ' ' + span(nowTime() - unfinished.finished_at) + ' ago, ' + when(unfinished.finished_at) + ': ' + unfinished.reason + (unfinished.problems ? '. It had found ' + plural(unfinished.problems, 'problem') + ', the first: ' + unfinished.message : '')));
		const good = repo.verifies.filter(one => !one.problems).length;
		if (repo.verifies.length > 1) parts.push(element('p', { class: 'soft verifies' }, good + ' of the last ' + repo.verifies.length + ' verifies found nothing wrong'), proofStrip(repo.verifies, 'verify run', one => !one.problems, one => one.problems ? plural(one.problems, 'problem') : 'nothing wrong'));
		const last = repo.drills[repo.drills.length - 1];
		parts.push(element('p', { class: 'drill' }, last ? element('span', { class: last.passed ? '' : 'bad' }, 'Last restore drill ' + (last.passed ? 'passed' : 'failed')) : 'Restore drill: never',
			last ? ' ' + span(nowTime() - last.finished_at) + ' ago, ' + when(last.finished_at) + (repo.recovery_time ? '; a recovery took ' + span(repo.recovery_time) : '') + '; ' + repo.drills.filter(one => one.passed).length + ' of the last ' + repo.drills.length + ' passed' : ' has one been restored to see that it can be.'));
		if (last) parts.push(proofStrip(repo.drills, 'drill', one => one.passed, one => one.passed ? 'passed' : 'failed'));
		for (const hold of repo.holds) parts.push(element('p', { class: 'hold' }, 'Held: ', element('span', { class: 'label' }, hold.label), (hold.since ? ' since ' + when(hold.since) : '') + (hold.reason ? ', ' + hold.reason : '')));
	}
	fill('proof', ...parts);
}

function drawBackups() {
	const all = readable().flatMap(repo => repo.backups.map(backup => ({ backup, repo }))).sort((a, b) => a.backup.stop - b.backup.stop);
	if (!all.length) return fill('backups', readable().length ? element('p', { class: 'soft' }, 'There are no backups.') : unknownNote('repositories'));
	const width = drawingWidth(), shown = all.slice(-Math.max(12, Math.floor(width / 18)));
	const step = width / shown.length, bar = Math.min(34, step * 0.72), height = 200, top = 20, middle = 122, bottom = 176;
	const most = Math.max(1, ...shown.map(one => one.backup.repo_delta)), longest = Math.max(1, ...shown.map(one => one.backup.stop - one.backup.start));
	const svg = shape('svg', { viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': 'Stored size and duration of the last ' + plural(shown.length, 'backup') + '; the table below has the numbers' });
	svg.append(shape('text', { x: 0, y: 11 }, 'stored, up to ' + bytes(most) + (shown.length < all.length ? '; the last ' + shown.length + ' of ' + all.length : '')), shape('text', { x: 0, y: middle + 14 }, 'duration, up to ' + span(longest)));
	shown.forEach(({ backup, repo }, i) => {
		const at = step * i + (step - bar) / 2;
		const size = Math.max(2, (middle - top) * backup.repo_delta / most), time = Math.max(2, (bottom - middle - 20) * (backup.stop - backup.start) / longest);
		const title = () => shape('title', {}, describe(backup, repo));
		svg.append(shape('rect', { x: at, y: middle - size, width: bar, height: size, rx: 2, class: 'f-' + backup.type }, title()));
		svg.append(shape('rect', { x: at, y: bottom - time, width: bar, height: time, rx: 2, class: 'f-' + backup.type, opacity: 0.55 }, title()));
	});
	svg.append(shape('line', { x1: 0, x2: width, y1: middle, y2: middle, class: 's-line' }), shape('line', { x1: 0, x2: width, y1: bottom, y2: bottom, class: 's-line' }));
	const first = day(shown[0].backup.stop), last = day(shown[shown.length - 1].backup.stop);
	svg.append(shape('text', { x: 0, y: bottom + 17 }, first));
	if (last !== first) svg.append(shape('text', { x: width, y: bottom + 17, 'text-anchor': 'end' }, last));
	const rows = all.slice().reverse().map(({ backup, repo }) => [
		[element('span', { class: 'label' }, backup.label), ...(holdOf(repo, backup) ? [element('div', { class: 'hint' }, 'held' + (holdOf(repo, backup).reason ? ': ' + holdOf(repo, backup).reason : ''))] : []), ...(annotationText(backup) ? [element('div', { class: 'hint' }, annotationText(backup))] : [])],
		typeName[backup.type], 'repo' + repo.key, when(backup.stop), span(backup.stop - backup.start), bytes(backup.size), bytes(backup.repo_delta)]);
	const open = byId('backups').querySelector('details');
	const columns = [{ name: 'Label', silent: true }, { name: 'Type', class: 'nowrap' }, { name: 'Repository', class: 'nowrap' }, { name: 'Ended', class: 'nowrap' }, { name: 'Took', class: 'number' }, { name: 'Database', class: 'number' }, { name: 'Stored', class: 'number' }];
	fill('backups', svg, legend(['full', 'diff', 'incr'].map(type => [typeName[type], shape('rect', { x: 1, y: 1, width: 12, height: 12, rx: 2, class: 'f-' + type })])),
		element('details', open && open.open ? { open: '' } : {}, element('summary', {}, 'All ' + plural(all.length, 'backup') + ' as a table'), ...table('backups', columns, rows, 20)));
}

function drawWal() {
	const repo = readable()[0], server = isKnown('server') ? latest.server : null, parts = [];
	if (!repo) parts.push(unknownNote('repositories'));
	else {
		const width = drawingWidth(), height = 130, bottom = 104, top = 20, hours = 48;
		const first = Math.floor(nowTime() / 3600) - hours + 1, per = new Array(hours).fill(0);
		for (const archive of repo.archives) for (const hour of archive.hours) {
			const at = Math.floor(hour.begin / 3600) - first;
			if (at >= 0 && at < hours) per[at] += hour.bytes;
		}
		const most = Math.max(1, ...per), step = width / hours, sum = per.reduce((a, b) => a + b, 0);
		const svg = shape('svg', { viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': 'WAL stored per hour, ' + bytes(sum) + ' in all' });
		svg.append(shape('text', { x: 0, y: 11 }, 'stored per hour, up to ' + bytes(most === 1 ? 0 : most)));
		per.forEach((value, i) => {
			const size = value ? Math.max(2, (bottom - top) * value / most) : 0;
			svg.append(shape('rect', { x: i * step + 1, y: bottom - size, width: Math.max(1, step - 2), height: size, rx: 1.5, class: 'f-accent' }, shape('title', {}, when((first + i) * 3600) + ': ' + bytes(value))));
		});
		svg.append(shape('line', { x1: 0, x2: width, y1: bottom, y2: bottom, class: 's-line' }));
		axis(svg, first * 3600, (first + hours) * 3600, 0, width, bottom);
		parts.push(svg, element('p', { class: 'soft' }, bytes(sum) + ' stored in repo' + repo.key + ' in 48 hours.'));
	}
	const text = [];
	if (server) {
		text.push(server.ready_segments ? plural(server.ready_segments, 'WAL file') + (server.ready_segments === 1 ? ' waits' : ' wait') + ' for the archiver.' : 'No WAL file is waiting.');
		text.push(bytes(server.unarchived_bytes) + ' of WAL are in no repository yet; pg_wal holds ' + bytes(server.pg_wal_bytes) + '.');
		if (server.last_archived_at) text.push('The last file was archived ' + span(nowTime() - server.last_archived_at) + ' ago.');
		text.push('The server was asked ' + span(ageOf('server')) + ' ago.');
	} else if (isExpected('server')) text.push('What waits in the server is not known: ' + whyUnknown('server') + '.');
	fill('wal', ...parts, element('p', { class: 'soft' }, text.join(' ')));
}

function drawPlaces() {
	const rows = latest.repositories.map(repo => {
		const known = isReadable(repo), gaps = repo.archives.reduce((sum, archive) => sum + archive.gaps.length, 0);
		return ['repo' + repo.key, pill(isKnown('repositories') ? repo.state : 'unknown'), [element('span', { class: 'label' }, repo.place), ...(repo.problem ? [element('div', { class: 'bad' }, 'unreachable' + (repo.failing_since ? ' since ' + when(repo.failing_since) : '') + ': ' + repo.problem)] : []), ...(gaps ? [element('div', { class: 'bad' }, plural(gaps, 'gap') + ' in its WAL')] : [])],
			repo.cipher === 'none' ? 'not encrypted' : repo.cipher, known ? String(repo.backups.length) : 'not known', known ? bytes(repo.backup_bytes) : 'not known', known ? bytes(repo.wal_bytes) : 'not known', repo.read_at ? span(nowTime() - repo.read_at) + ' ago' : 'never'];
	});
	fill('places', ...table('places', [{ name: 'Name', class: 'nowrap' }, { name: 'State', silent: true }, { name: 'Place' }, { name: 'Encryption', class: 'nowrap' }, { name: 'Backups', class: 'number' }, { name: 'Stored', class: 'number' }, { name: 'WAL', class: 'number' }, { name: 'Read', class: 'number' }], rows, 100));
}

const kAges = [['running', 'jobs'], ['window', 'repositories'], ['rules', 'repositories'], ['schedules', 'schedules'], ['jobs', 'jobs'], ['proof', 'repositories'], ['places', 'repositories'], ['backups', 'repositories'], ['wal', 'repositories']];
let drawnKnown = '';
const knownNow = () => kAges.map(([, name]) => isKnown(name)).join();
function showAges() {
	for (const [id, name] of kAges) showAge(id, name);
	byId('updated').textContent = 'repositories read ' + span(ageOf('repositories')) + ' ago' + (isExpected('server') && latest.facts.server.at ? ', server heard ' + span(ageOf('server')) + ' ago' : '');
}
function draw() {
	if (!latest) return;
	drawnKnown = knownNow();
	const state = overallState(), word = stateWord[state];
	document.title = (state === 'ok' ? '' : word + ': ') + latest.stanza + ' - chronos';
	byId('title').textContent = 'chronos: ' + latest.stanza;
	byId('overall').className = 'pill ' + state;
	byId('overall').textContent = word;
	byId('zone').textContent = utc ? 'Times: UTC' : 'Times: local';
	byId('zone').setAttribute('aria-label', 'Times are in ' + zoneName(nowTime()) + '. Change between UTC and local time');
	byId('footer').textContent = 'chronos_backup ' + latest.version + '. Times are in ' + zoneName(nowTime()) + '; 1KB is 1024 bytes.';
	for (const part of [drawVerdict, drawTiles, drawRunning, drawWindow, drawMoment, drawRules, drawSchedules, drawJobs, drawProof, drawPlaces, drawBackups, drawWal]) part();
	showAges();
}

let loading = false;
async function load() {
	if (loading) return;
	loading = true;
	try {
		const answer = await fetch('/api/status.json', { cache: 'no-store', signal: AbortSignal.timeout ? AbortSignal.timeout(10000) : undefined });
		if (!answer.ok) throw new Error('the server answers ' + answer.status);
		latest = await answer.json();
		receivedAt = performance.now();
		byId('failure').hidden = true;
		draw();
	} catch (error) {
		byId('failure').textContent = 'No news: ' + error.message + '. ' + (latest ? 'What is shown is from ' + span(elapsed()) + ' ago.' : 'Nothing is known.');
		byId('failure').hidden = false;
	}
	loading = false;
}

// #at=2026-11-20T08:11:30Z names a moment, #at=latest the end, #utc the zone: a link to be passed on.
function readHash() {
	const words = new URLSearchParams(location.hash.slice(1).replace(/\+/g, '%2B'));
	if (words.has('utc')) utc = true;
	const at = words.get('at');
	momentLatest = at === 'latest';
	const time = at && !momentLatest ? Math.floor(new Date(at).getTime() / 1000) : NaN;
	if (!Number.isNaN(time)) { momentTime = time; byId('when').value = fieldText(time); }
	draw();
}
byId('reload').addEventListener('click', load);
byId('zone').addEventListener('click', () => { utc = !utc; if (momentTime) byId('when').value = fieldText(momentTime); draw(); });
byId('pick').addEventListener('submit', event => {
	event.preventDefault();
	const time = parseField(byId('when').value);
	if (!Number.isNaN(time)) chooseMoment(time);
});
byId('latest').addEventListener('click', () => { momentLatest = true; draw(); });
let width = 0, ticksSeen = 0;
addEventListener('resize', () => { if (width !== drawingWidth()) { width = drawingWidth(); draw(); } });
addEventListener('hashchange', readHash);
setInterval(() => {
	if (latest && knownNow() !== drawnKnown) draw(); else if (latest) showAges();
	if (!document.hidden && ++ticksSeen % (latest && activeJobs().length + latest.running.length + latest.completing.length ? 3 : 15) === 0) load();
}, 1000);
readHash();
load();
