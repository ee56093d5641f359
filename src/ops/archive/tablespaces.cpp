#include "ops/archive/tablespaces.h"

#include <unistd.h>

#include <algorithm>
#include <utility>

#include "chronos/base/text.h"
#include "chronos/os/file.h"
#include "chronos/pgdata/data_directory.h"
#include "chronos/pgdata/wal.h"
#include "chronos/pgdata/wal_commits.h"
#include "chronos/pgdata/wal_extent.h"

namespace chronos::ops::archive {
namespace {

constexpr std::uint32_t kPart = 1u << 20;

Error not_its_own(const pgdata::TablespaceCreation& creation, const std::string& segment,
                  const std::string& why) {
    return Error(kNotItsOwn, "WAL segment " + segment + " creates tablespace " +
                                 std::to_string(creation.oid) + " at " + creation.begin.str() +
                                 ", and recovery would make it where the cluster had it, at '" +
                                 printable(creation.location) + "': " + why)
        .with_hint(
            "Restore a backup that was taken after CREATE TABLESPACE: its tablespaces go "
            "where --tablespace-map says.")
        .with_hint("--type=lsn --target=" + creation.before.str() + " restores up to that moment.");
}

}  // namespace

TablespaceJudge::TablespaceJudge(std::string pg_path, const pgdata::ControlFile& control,
                                 pgdata::RecoveryState recovery)
    : pg_path_(std::move(pg_path)),
      version_directory_(control.tablespace_directory()),
      segment_size_(control.wal_segment_size),
      replay_begin_(pgdata::replay_begin(pg_path_, control)),
      recovery_(std::move(recovery)) {}

/// Not if it was replayed before, or never is.
bool TablespaceJudge::comes_to(const pgdata::TablespaceCreation& creation,
                               const std::string& segment, const std::string& file) const {
    if (recovery_.kind == pgdata::RecoveryState::Kind::none || creation.begin < replay_begin_)
        return false;
    const auto leg = recovery_.leg_of(pgdata::timeline_of_segment(segment));
    if (leg && leg->left && creation.begin >= *leg->left) return false;
    if (!recovery_.must_reach) return true;
    const std::string content = os::read_part_or_empty(file, 0, segment_size_);
    const Lsn start = pgdata::wal_segment_start(segment, segment_size_);
    // One that began in the segment before: nothing of this one is in front of it.
    const Lsn end = std::max(creation.begin, start);
    return content.empty() ||
           !recovery_.end.ends_before(io::bytes(pgdata::wal_before(io::bytes(content), start, end)),
                                      end, creation.before);
}

Result<> TablespaceJudge::judge(const std::vector<pgdata::TablespaceCreation>& created,
                                const std::string& segment, const std::string& file) const {
    for (const pgdata::TablespaceCreation& creation : created) {
        const bool nowhere_else =
            ::access((pg_path_ + "/" + pgdata::kScratchSignal).c_str(), F_OK) == 0;
        const std::string place = pgdata::in_the_way_of(creation, version_directory_, pg_path_);
        if (place.empty() && !(nowhere_else && pgdata::is_elsewhere(creation))) continue;
        if (!comes_to(creation, segment, file)) continue;
        if (place.empty())
            return not_its_own(creation, segment,
                               "this server is to write nowhere but in its own directory");
        return not_its_own(creation, segment,
                           "'" + printable(place) + "' is there, and not of the data directory '" +
                               pg_path_ + "'")
            .with_hint("If nobody needs those files any more, move that directory aside.");
    }
    return {};
}

Result<> TablespaceJudge::judge_file(const std::string& segment, const std::string& file) const {
    if (recovery_.kind == pgdata::RecoveryState::Kind::none) return {};
    pgdata::WalReader reader(pgdata::WalReader::Depth::pages, pgdata::timeline_of_segment(segment));
    // A part at a time: no memory is needed for a segment that creates none.
    for (std::uint32_t at = 0; at < segment_size_; at += kPart) {
        const std::string part =
            os::read_part_or_empty(file, at, std::min(kPart, segment_size_ - at));
        if (part.empty()) break;
        [[maybe_unused]] const Result<> never = reader.write(io::bytes(part));
    }
    return judge(reader.extent().tablespaces, segment, file);
}

}  // namespace chronos::ops::archive
