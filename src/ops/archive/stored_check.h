#pragma once

#include "chronos/repo/wal_archive.h"
#include "ops/archive/targets.h"

namespace chronos::ops::archive {

/// Whether what an archive has under the name of a segment is that segment, can be read with the
/// passphrase of the archive, and is there for good. Asked before a file that was not stored just
/// now is acknowledged: an engine may have been killed between its rename and its sync, power may
/// have failed, or the stanza been created anew with another passphrase. Reads all of it.
/// An error says that this could not be found out.
Result<bool> is_stored_for_good(const Target& target, const repo::ArchivedSegment& stored);

}  // namespace chronos::ops::archive
