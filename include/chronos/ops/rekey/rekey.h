#pragma once

#include <string>
#include <vector>

#include "chronos/base/cancel.h"
#include "chronos/repo/repository.h"

namespace chronos::ops::rekey {

enum class Phase {
    whole,    ///< the configuration holds the new passphrase, and the old one as the previous
    prepare,  ///< the configuration holds the old one: the new one opens everything afterwards too
    finish,   ///< the configuration holds the new one: the old one opens nothing afterwards
};

struct RekeyRequest {
    repo::Repository repository;  ///< with the passphrases of the configuration
    Phase phase = Phase::whole;
    std::string new_passphrase;  ///< of prepare; secret
    std::string lock_path;
    std::string exec_id;
};

/// What became of one info file.
struct RekeyedFile {
    std::string stanza;
    std::string name;  ///< in the repository: "backup/main/backup.info.copy"
    bool written = false;
    std::string reason;
};

/// Gives a repository a new passphrase by writing the four info files of every stanza anew; the
/// passphrases in them, and so backups and WAL, stay what they are. Source: docs/format/ciphers.md,
/// Changing passphrases.
///
/// Everything is read before anything is written, and every copy is written before the first main
/// file. Killed anywhere, either the old passphrase opens all stanzas or the new one does: the old
/// one until the last copy is written, the new one from then on. The same call again goes on.
/// Whatever the phase, the passphrase of the configuration opens everything afterwards.
///
/// Takes the archive, backup and restore locks of every stanza (kind lock_acquire): what else
/// writes info files would write them with its own passphrase. Kind crypto if some info file opens
/// with none of the passphrases at hand; nothing is changed then.
Result<std::vector<RekeyedFile>> rekey(const RekeyRequest& request, const Cancellation& cancel);

}  // namespace chronos::ops::rekey
