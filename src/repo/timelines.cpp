#include "chronos/repo/timelines.h"

#include <algorithm>

#include "chronos/repo/proven_text.h"

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
            timelines.ways.try_emplace(parent, Timelines::Way{own, true, way.stored});
        if (added || known->second.switches == own) continue;
        std::string text = "the history of timeline " + std::to_string(parent) +
                           " and what that of timeline " + std::to_string(of) +
                           " says of it are different";
        if (std::ranges::find(timelines.contradictions, text) == timelines.contradictions.end())
            timelines.contradictions.push_back(std::move(text));
    }
}

}  // namespace

const Timelines::Way* Timelines::way_to(Timeline timeline) const {
    const auto found = ways.find(timeline);
    return found == ways.end() ? nullptr : &found->second;
}

std::optional<Lsn> Timelines::last_left(Timeline timeline) const {
    std::optional<Lsn> last;
    for (const auto& [own, way] : ways)
        for (const pgdata::TimelineSwitch& left : way.switches)
            if (left.parent == timeline && (!last || *last < left.switch_lsn))
                last = left.switch_lsn;
    return last;
}

Result<Timelines> load_timelines(const Repository& repository, const std::string& stanza,
                                 const std::string& archive_id, const std::string& pass) {
    Timelines timelines;
    const std::string directory = archive_path(stanza) + "/" + archive_id;
    for (const storage::Entry& entry : CHRONOS_TRY(repository.storage->list(directory))) {
        if (!pgdata::is_timeline_history(entry.name)) continue;
        const Timeline timeline = pgdata::timeline_of_segment(entry.name);
        Result<std::string> text = read_text(repository, directory + "/" + entry.name, pass);
        if (!text && text.error().kind() != ErrorKind::crypto) {
            if (text.error().kind() == ErrorKind::not_found) continue;  // removed meanwhile
            return std::move(text).error().while_doing("read " + entry.name);
        }
        auto switches = text ? pgdata::parse_timeline_history(*text)
                             : Result<std::vector<pgdata::TimelineSwitch>>(text.error());
        if (switches && (switches->empty() || switches->back().parent >= timeline))
            switches = Error(ErrorKind::format, "it names no timeline before its own");
        if (switches)
            timelines.ways[timeline] = {*std::move(switches), false, entry.modified};
        else
            timelines.damaged[timeline] = switches.error().message();
    }
    // From the newest to the oldest: the one whose file is there is asked before what is derived.
    const auto own = timelines.ways;
    for (auto way = own.rbegin(); way != own.rend(); ++way)
        add_derived(timelines, way->first, way->second);
    return timelines;
}

std::string format_timeline_history(const Timelines::Way& way) {
    std::string text;
    for (const pgdata::TimelineSwitch& left : way.switches)
        text += std::to_string(left.parent) + "\t" + left.switch_lsn.str() +
                "\tput back from the history of a later timeline\n\n";
    return text;
}

Result<std::vector<std::string>> mend_histories(const Repository& repository,
                                                const std::string& stanza,
                                                const std::string& archive_id,
                                                const std::string& pass, bool put_back) {
    const Timelines timelines = CHRONOS_TRY(load_timelines(repository, stanza, archive_id, pass));
    std::vector<std::string> lost;
    for (const auto& [timeline, way] : timelines.ways) {
        // Where two files disagree nobody can say which one is right.
        if (!way.derived || !timelines.contradictions.empty()) continue;
        lost.push_back(pgdata::timeline_history_name(timeline));
        if (put_back)
            CHRONOS_TRY(write_text(repository,
                                   archive_path(stanza) + "/" + archive_id + "/" + lost.back(),
                                   format_timeline_history(way), pass,
                                   reads_back_as(way.switches, pgdata::parse_timeline_history)));
    }
    return lost;
}

void merge_timelines(Timelines& timelines, const Timelines& other) {
    for (const auto& [timeline, way] : other.ways) {
        const auto [known, added] = timelines.ways.try_emplace(timeline, way);
        if (added) continue;
        if (known->second.switches != way.switches)
            timelines.contradictions.push_back(
                "the repositories have different histories of timeline " +
                std::to_string(timeline));
        known->second.derived = known->second.derived && way.derived;
    }
    timelines.contradictions.insert(timelines.contradictions.end(), other.contradictions.begin(),
                                    other.contradictions.end());
    for (const auto& [timeline, why] : other.damaged)
        if (!timelines.way_to(timeline)) timelines.damaged.emplace(timeline, why);
    std::erase_if(timelines.damaged,
                  [&](const auto& item) { return timelines.way_to(item.first) != nullptr; });
}

}  // namespace chronos::repo
