#include "chronos/repo/timelines.h"

#include <algorithm>

#include "chronos/base/text.h"
#include "chronos/pgdata/timeline_history.h"
#include "chronos/repo/proven_text.h"
#include "chronos/repo/wal_archive.h"

namespace chronos::repo {
namespace {

/// What a later history tells of the timelines on its way: the lines before the one of a timeline
/// are that timeline's own history.
void add_derived(Timelines& timelines, Timeline of, const Timelines::Way& way) {
    const std::vector<pgdata::TimelineSwitch>& switches = way.switches;
    for (std::size_t i = 1; i < switches.size(); ++i) {
        const std::vector<pgdata::TimelineSwitch> own(switches.begin(),
                                                      switches.begin() + static_cast<long>(i));
        const Timeline parent = switches[i].parent;
        const auto [known, added] =
            timelines.ways.try_emplace(parent, Timelines::Way{own, of, way.stored});
        if (added || known->second.switches == own) continue;
        std::string text = "the history of timeline " + std::to_string(parent) +
                           " and what that of timeline " + std::to_string(of) +
                           " says of it are different";
        if (std::ranges::find(timelines.contradictions, text) == timelines.contradictions.end())
            timelines.contradictions.push_back(std::move(text));
    }
}

/// Of a timeline that no history file tells of.
Result<bool> has_segment(const Repository& repository, const std::string& archive,
                         Timeline timeline) {
    const std::string prefix = pgdata::timeline_history_name(timeline).substr(0, 8);
    for (const storage::Entry& part : CHRONOS_TRY(repository.storage->list(archive, prefix))) {
        if (!is_wal_directory(part.name)) continue;
        for (const storage::Entry& entry :
             CHRONOS_TRY(repository.storage->list(archive + "/" + part.name)))
            if (parse_archived_name(entry.name)) return true;
    }
    return false;
}

}  // namespace

const Timelines::Way* Timelines::way_to(Timeline timeline) const {
    const auto found = ways.find(timeline);
    return found == ways.end() ? nullptr : &found->second;
}

bool Timelines::is_lost(Timeline timeline) const {
    const Way* way = way_to(timeline);
    return way != nullptr && way->told_by != 0 && !with_directories.empty() &&
           timeline >= *with_directories.begin();
}

void Timelines::add_backup(const BackupEntry& backup) {
    if (!pgdata::is_wal_segment(backup.archive_stop)) return;
    std::string& last = backed_up_to[pgdata::timeline_of_segment(backup.archive_stop)];
    last = std::max(last, backup.archive_stop);
}

std::uint64_t Timelines::segments_known(Timeline timeline, std::uint32_t segment_size) const {
    std::uint64_t known = 0;
    for (const auto& [own, way] : ways)
        for (const pgdata::TimelineSwitch& left : way.switches)
            if (left.parent == timeline)
                known = std::max(known, left.switch_lsn.value / segment_size);
    if (const auto last = backed_up_to.find(timeline); last != backed_up_to.end())
        known = std::max(known, pgdata::wal_segment_number(last->second, segment_size) + 1);
    return known;
}

Result<Timelines> load_timelines(const Repository& repository, const std::string& stanza,
                                 const std::string& archive_id, const std::string& pass) {
    Timelines timelines;
    const std::string directory = archive_path(stanza) + "/" + archive_id;
    for (const storage::Entry& entry : CHRONOS_TRY(repository.storage->list(directory))) {
        if (is_wal_directory(entry.name))
            timelines.with_directories.insert(pgdata::timeline_of_segment(entry.name));
        if (!pgdata::is_timeline_history(entry.name)) continue;
        const Timeline timeline = pgdata::timeline_of_segment(entry.name);
        Result<std::string> text = read_text(repository, directory + "/" + entry.name, pass);
        if (!text && text.error().kind() != ErrorKind::crypto) {
            if (text.error().kind() == ErrorKind::not_found) continue;  // removed meanwhile
            return std::move(text).error().while_doing("read " + entry.name);
        }
        auto switches = text ? pgdata::parse_history_of(timeline, *text)
                             : Result<std::vector<pgdata::TimelineSwitch>>(text.error());
        if (switches)
            timelines.ways[timeline] = {*std::move(switches), 0, entry.modified};
        else
            timelines.damaged[timeline] = switches.error().message();
    }
    // From the newest to the oldest: the one whose file is there is asked before what is derived.
    const auto own = timelines.ways;
    for (auto way = own.rbegin(); way != own.rend(); ++way)
        add_derived(timelines, way->first, way->second);
    return timelines;
}

std::set<Timeline> histories_wanted(std::set<Timeline> with_wal) {
    if (!with_wal.empty()) with_wal.erase(with_wal.begin());
    return with_wal;
}

std::string format_timeline_history(const Timelines::Way& way) {
    std::string text;
    for (const pgdata::TimelineSwitch& left : way.switches)
        text += std::to_string(left.parent) + "\t" + left.switch_lsn.str() +
                "\tput back from the history of a later timeline\n\n";
    return text;
}

Result<std::vector<LostHistory>> find_lost_histories(const Repository& repository,
                                                     const std::string& stanza,
                                                     const std::string& archive_id,
                                                     const std::string& pass) {
    const Timelines timelines = CHRONOS_TRY(load_timelines(repository, stanza, archive_id, pass));
    const std::string archive = archive_path(stanza) + "/" + archive_id;
    std::set<Timeline> wanted = histories_wanted(timelines.with_directories);
    for (const auto& [timeline, way] : timelines.ways)
        if (timelines.is_lost(timeline)) wanted.insert(timeline);
    for (const auto& [timeline, why] : timelines.damaged) wanted.insert(timeline);
    std::vector<LostHistory> found;
    for (const Timeline timeline : wanted) {
        const Timelines::Way* way = timelines.way_to(timeline);
        if (way != nullptr && way->told_by == 0) continue;
        const auto damaged = timelines.damaged.find(timeline);
        LostHistory lost;
        lost.damaged = damaged != timelines.damaged.end();
        if (way == nullptr && !lost.damaged &&
            !CHRONOS_TRY(has_segment(repository, archive, timeline)))
            continue;
        lost.object = archive + "/" + pgdata::timeline_history_name(timeline);
        lost.wrong = lost.damaged ? "cannot be read: " + damaged->second : "is missing";
        if (way != nullptr) lost.way = *way;
        // Where two files disagree nobody can say which one is right.
        if (!timelines.contradictions.empty()) lost.doubt = timelines.contradictions.front();
        found.push_back(std::move(lost));
    }
    return found;
}

Result<> mend_history(const Repository& repository, const LostHistory& lost,
                      const std::string& pass) {
    if (lost.way.told_by == 0 || !lost.doubt.empty())
        return Error(ErrorKind::format, "what '" + lost.object + "' said is not known" +
                                            (lost.doubt.empty() ? "" : ": " + lost.doubt));
    return write_text(repository, lost.object, format_timeline_history(lost.way), pass,
                      reads_back_as(lost.way.switches, pgdata::parse_timeline_history));
}

void merge_timelines(Timelines& timelines, const Timelines& other) {
    for (const auto& [timeline, way] : other.ways) {
        const auto [known, added] = timelines.ways.try_emplace(timeline, way);
        if (added) continue;
        if (known->second.switches != way.switches)
            timelines.contradictions.push_back(
                "the repositories have different histories of timeline " +
                std::to_string(timeline));
        if (way.told_by == 0) known->second.told_by = 0;
    }
    for (const auto& [timeline, segment] : other.backed_up_to)
        timelines.backed_up_to[timeline] = std::max(timelines.backed_up_to[timeline], segment);
    timelines.with_directories.insert(other.with_directories.begin(), other.with_directories.end());
    timelines.contradictions.insert(timelines.contradictions.end(), other.contradictions.begin(),
                                    other.contradictions.end());
    for (const auto& [timeline, why] : other.damaged)
        if (!timelines.way_to(timeline)) timelines.damaged.emplace(timeline, why);
    std::erase_if(timelines.damaged,
                  [&](const auto& item) { return timelines.way_to(item.first) != nullptr; });
}

}  // namespace chronos::repo
