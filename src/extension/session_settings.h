#pragma once

namespace chronos::extension {

/// What an administrator sets for sessions - of all, of a database, of a role - must not reach into
/// ours: not how long they may wait, not what they read, not in which form they print it, and above
/// all not whom a commit waits for. These are the only places that say what our sessions need.

/// For all that follows in this process: a background worker that has just connected.
void settle_worker_session();

/// For one statement of an engine in somebody's session: how values are read and printed. Who
/// called keeps the rest: timeouts, isolation and whom a commit waits for are theirs to say.
/// Returns what unsettle() takes; an error of the (sub)transaction undoes it too.
int settle_statement();
void unsettle(int level);

}  // namespace chronos::extension
