#pragma once

#include <optional>
#include <string>
#include <vector>

#include "chronos/base/cancel.h"
#include "chronos/repo/repository.h"
#include "chronos/repo/stanza.h"

namespace chronos::ops::repair {

struct RepairRequest {
    repo::Repository repository;
    std::string stanza;
    /// Do it; otherwise nothing is changed and no lock is taken.
    bool force = false;
    /// The cluster of the configured data directory, if there is one: what neither an info file nor
    /// a manifest tells is taken from it, if it is the same cluster.
    std::optional<repo::ClusterIdentity> cluster;
    std::string lock_path;
    std::string exec_id;
};

enum class State {
    to_do,   ///< would be done with force
    done,    ///< has been done
    cannot,  ///< nothing here can mend it: `remedy` says what somebody can do
};
std::string_view state_name(State state);

/// One thing that is wrong, in the order in which they are mended.
struct Step {
    std::string object;  ///< in the repository: "backup/main/backup.info"
    std::string wrong;   ///< one line, fit for printing
    std::string remedy;  ///< what would be, or has been, done about it
    State state = State::to_do;
};

/// Mends the files of a stanza that say what is in it, from each other: an info file or a manifest
/// from its copy and the other way round, a manifest from backup.history, backup.info from the
/// manifests, archive.info from backup.info, the manifests or the headers of WAL segments, the
/// history of a timeline from that of a later one.
///
/// No file of a backup and no WAL is read but those, and nothing is deleted: what is damaged is
/// copied, and what does not belong is moved, below chronos/<stanza>/aside/<time>/, where it lies
/// under its own name until somebody removes it. A backup is moved only if no other one rests on
/// it.
///
/// What is written last is what makes the rest visible: histories, manifests, what goes aside,
/// archive.info, backup.info. Killed anywhere, the same call finds what is left to do and goes on.
///
/// With force it takes the archive, backup and restore locks of the stanza (kind lock_acquire).
/// Kind crypto if no info file opens with the passphrase: then nothing tells damage from a wrong
/// one. Kind not_found if there is nothing of the stanza.
Result<std::vector<Step>> repair(const RepairRequest& request, const Cancellation& cancel);

}  // namespace chronos::ops::repair
