#include "ops/repair/history.h"

#include <algorithm>

#include "chronos/pgdata/version_numbers.h"

namespace chronos::ops::repair {
namespace {

using repo::HistoryEntry;

class Collector {
public:
    explicit Collector(const Sources& sources) : sources_(sources) {}

    KnownHistory run() {
        const auto& archive = sources_.infos.archive.info;
        const auto& backup = sources_.infos.backup.info;
        if (backup)
            for (const HistoryEntry& entry : backup->history) add(entry);
        if (archive)
            for (const HistoryEntry& entry : archive->history) add(entry);
        if (!archive && !backup) add_found();
        KnownHistory known;
        known.unknown = std::move(unknown_);
        known.current_id = archive             ? archive->current_id
                           : backup            ? backup->current_id
                           : !entries_.empty() ? entries_.rbegin()->first
                                               : 0;
        for (auto& [id, entry] : entries_) {
            complete(entry);
            known.entries.push_back(entry);
        }
        return known;
    }

private:
    void add(const HistoryEntry& entry) {
        const auto [at, added] = entries_.emplace(entry.id, entry);
        HistoryEntry& known = at->second;
        if (added || !known.same_cluster(entry)) return;
        if (known.catalog_version == 0) known.catalog_version = entry.catalog_version;
        if (known.control_version == 0) known.control_version = entry.control_version;
    }

    void add_found() {
        for (const auto& [label, backup] : sources_.backups)
            if (backup.cluster) add(*backup.cluster);
        for (const FoundArchive& found : sources_.archives) {
            if (entries_.contains(found.history_id)) continue;
            const auto system_id = found.system_id ? found.system_id : of_cluster(found);
            if (system_id)
                add({found.history_id, *system_id, found.version, 0, 0});
            else
                unknown_.push_back(found.id);
        }
    }

    /// An archive without a segment that can be read may be that of the cluster at hand: if it is
    /// the newest one.
    std::optional<std::uint64_t> of_cluster(const FoundArchive& found) const {
        const bool newest = &found == &sources_.archives.back();
        if (!newest || !sources_.cluster || sources_.cluster->version != found.version)
            return std::nullopt;
        return sources_.cluster->system_id;
    }

    void complete(HistoryEntry& entry) const {
        for (const auto& [label, backup] : sources_.backups)
            if (backup.cluster && backup.cluster->same_cluster(entry)) fill(entry, *backup.cluster);
        const auto& cluster = sources_.cluster;
        if (cluster && cluster->is(entry))
            fill(entry, {0, 0, "", cluster->catalog_version, cluster->control_version});
        if (const auto numbers = pgdata::version_numbers(entry.version))
            fill(entry, {0, 0, "", numbers->catalog_version, numbers->control_version});
    }
    static void fill(HistoryEntry& entry, const HistoryEntry& from) {
        if (entry.catalog_version == 0) entry.catalog_version = from.catalog_version;
        if (entry.control_version == 0) entry.control_version = from.control_version;
    }

    const Sources& sources_;
    std::map<std::uint64_t, HistoryEntry> entries_;
    std::vector<std::string> unknown_;
};

}  // namespace

KnownHistory known_history(const Sources& sources) {
    return Collector(sources).run();
}

}  // namespace chronos::ops::repair
