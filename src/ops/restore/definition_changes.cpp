#include "chronos/ops/restore/definition_changes.h"

#include <utility>

#include "chronos/pgdata/wal.h"
#include "chronos/pgdata/wal_extent.h"
#include "ops/restore/parameters.h"

namespace chronos::ops::restore {

Result<std::vector<pgdata::DefinitionChange>> read_definition_changes(
    const RestorePlan& plan, unsigned process_max, const Cancellation& cancel,
    const ProgressReceiver& progress) {
    std::vector<pgdata::DefinitionChange> changes;
    if (plan.wal_to_read == nullptr) return changes;
    pgdata::WalReader reader(pgdata::WalReader::Depth::pages, plan.backup_timeline);
    reader.want(
        {pgdata::kTransactionRecords, pgdata::kCommitRecordMax, [&](Lsn begin, io::Bytes record) {
             auto change = pgdata::parse_definition_change(record, begin, plan.manifest.pg_version);
             // The segment of a fork is read once on each of its timelines.
             if (change && (changes.empty() || changes.back().begin < begin))
                 changes.push_back(*std::move(change));
         }});
    Progress now{"read", 0, 0, 0, plan.wal.count};
    CHRONOS_TRY(read_way(*plan.wal_to_read, process_max, cancel,
                         [&](const std::string& segment, io::Bytes content) {
                             reader.go_on(pgdata::timeline_of_segment(segment));
                             [[maybe_unused]] const Result<> never = reader.write(content);
                             now.bytes_done += content.size();
                             ++now.files_done;
                             if (progress) progress(now);
                             return true;
                         }));
    return changes;
}

}  // namespace chronos::ops::restore
