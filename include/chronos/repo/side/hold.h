#pragma once

#include <string>
#include <vector>

#include "chronos/base/clock.h"
#include "chronos/base/result.h"
#include "chronos/repo/repository.h"

namespace chronos::repo {

/// A backup that is not to be expired, with all it depends on and its WAL, until it is released.
/// Holds are ours alone: they lie under chronos/<stanza>/hold/, where pgBackRest does not look, so
/// its own expire does not honour them.
struct Hold {
    std::string label;
    std::string reason;
    UnixTime since = 0;
    bool operator==(const Hold&) const = default;
};

/// Ascending by label. `pass` is BackupInfo::cipher_pass.
Result<std::vector<Hold>> list_holds(const Repository& repository, const std::string& stanza,
                                     const std::string& pass);
/// The reason has no white space at its ends: the record would be read without it.
Result<> save_hold(const Repository& repository, const std::string& stanza, const Hold& hold,
                   const std::string& pass);
/// Succeeds if there was none.
Result<> remove_hold(const Repository& repository, const std::string& stanza,
                     const std::string& label);

}  // namespace chronos::repo
