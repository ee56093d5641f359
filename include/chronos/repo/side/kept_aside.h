#pragma once

#include <string>
#include <vector>

#include "chronos/base/clock.h"
#include "chronos/base/result.h"
#include "chronos/repo/repository.h"

namespace chronos::repo {

/// A file of pg_wal whose name another content has in the archive already. It lies under
/// chronos/<stanza>/conflict/<archive id>/ as "<name>-<sha1>[.ext]", until somebody who has looked
/// at both removes it.
struct KeptAside {
    std::string name;  ///< "00000002.history", "000000010000000000000003.partial"
    std::string object;
    UnixTime stored = 0;
};

/// `extension` of the compression, "" for none.
std::string kept_aside_object(const std::string& stanza, const std::string& archive_id,
                              const std::string& name, const std::string& checksum,
                              std::string_view extension);
/// Sorted by name.
Result<std::vector<KeptAside>> list_kept_aside(const Repository& repository,
                                               const std::string& stanza,
                                               const std::string& archive_id);

}  // namespace chronos::repo
