#pragma once

#include <string>
#include <vector>

#include "chronos/base/result.h"
#include "chronos/pgdata/control_file.h"
#include "chronos/pgdata/recovery_state.h"
#include "chronos/pgdata/wal_tablespaces.h"

namespace chronos::ops::archive {

/// What an error is that nobody has to ask again for: the tablespace stays where it is.
inline constexpr ErrorKind kNotItsOwn = ErrorKind::path_not_empty;

/// A server that replays CREATE TABLESPACE goes to the original location, and writes into the files
/// that are there: on the machine of the original cluster those of that one.
class TablespaceJudge {
public:
    TablespaceJudge(std::string pg_path, const pgdata::ControlFile& control,
                    pgdata::RecoveryState recovery);

    /// Kind kNotItsOwn if recovery would come to one of them. `file` has the content of the
    /// segment, which decides whether the target of the recovery is in front of it.
    Result<> judge(const std::vector<pgdata::TablespaceCreation>& created,
                   const std::string& segment, const std::string& file) const;

    /// The same of all that a segment creates, by the file that it lies in.
    Result<> judge_file(const std::string& segment, const std::string& file) const;

private:
    bool comes_to(const pgdata::TablespaceCreation& creation, const std::string& segment,
                  const std::string& file) const;

    std::string pg_path_;
    std::string version_directory_;
    std::uint32_t segment_size_;
    Lsn replay_begin_;
    pgdata::RecoveryState recovery_;
};

}  // namespace chronos::ops::archive
