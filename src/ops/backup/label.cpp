#include "ops/backup/label.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <iterator>
#include <optional>
#include <utility>
#include <vector>

#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "chronos/storage/parallel.h"

namespace chronos::ops::backup {
namespace {

constexpr std::size_t kFullLabelSize = 16;  // "20261120-075745F"
constexpr std::size_t kStampSize = 15;      // "20261120-075745"
constexpr std::string_view kHistorySuffix = ".manifest.gz";

Result<std::vector<std::string>> labels_of_directories(const repo::Repository& repository,
                                                       const std::string& stanza) {
    std::vector<std::string> labels;
    for (storage::Entry& entry : CHRONOS_TRY(repository.storage->list(repo::backup_path(stanza))))
        if (entry.type == storage::EntryType::path && repo::is_backup_label(entry.name))
            labels.push_back(std::move(entry.name));
    return labels;
}

std::string history_path(const std::string& stanza) {
    return repo::backup_path(stanza) + "/backup.history";
}

Result<std::string> newest_year(const repo::Repository& repository, const std::string& stanza) {
    std::string newest;
    for (const storage::Entry& entry :
         CHRONOS_TRY(repository.storage->list(history_path(stanza), "2")))
        if (entry.name.size() == 4 && parse_uint(entry.name)) newest = entry.name;
    return newest;
}

// Expired backups have no directory any more, but their labels stay taken.
Result<std::vector<std::string>> labels_of_year(const repo::Repository& repository,
                                                const std::string& stanza,
                                                const std::string& year) {
    std::vector<std::string> labels;
    for (const storage::Entry& entry :
         CHRONOS_TRY(repository.storage->list(history_path(stanza) + "/" + year))) {
        if (!entry.name.ends_with(kHistorySuffix)) continue;
        std::string label = entry.name.substr(0, entry.name.size() - kHistorySuffix.size());
        if (repo::is_backup_label(label)) labels.push_back(std::move(label));
    }
    return labels;
}

std::string format_label(repo::BackupType type, const std::string& prior,
                         const std::string& stamp) {
    switch (type) {
        case repo::BackupType::full: return stamp + "F";
        case repo::BackupType::diff: return prior.substr(0, kFullLabelSize) + "_" + stamp + "D";
        case repo::BackupType::incr: break;
    }
    return prior.substr(0, kFullLabelSize) + "_" + stamp + "I";
}

/// The time at the end of a label: of the full in a full's, of the dependent backup in others.
std::string stamp_of(const std::string& label) {
    return label.substr(label.size() - kStampSize - 1, kStampSize);
}

/// The latest time in any of the labels; "" if there are none.
std::string latest_stamp(const std::vector<std::string>& labels) {
    std::string latest;
    for (const std::string& label : labels) latest = std::max(latest, stamp_of(label));
    return latest;
}

/// One second later on the clock that the stamp was read from, whichever that was; nullopt if it is
/// no time, or the last one that fits.
std::optional<std::string> stamp_after(const std::string& stamp) {
    using namespace std::chrono;
    std::vector<unsigned> parts;
    for (const auto& [at, size] : {std::pair{0, 4}, {4, 2}, {6, 2}, {9, 2}, {11, 2}, {13, 2}}) {
        const auto part = parse_uint(std::string_view(stamp).substr(at, size));
        if (!part) return std::nullopt;
        parts.push_back(static_cast<unsigned>(*part));
    }
    const year_month_day day{year(static_cast<int>(parts[0])), month(parts[1]),
                             std::chrono::day(parts[2])};
    if (!day.ok() || parts[3] > 23 || parts[4] > 59 || parts[5] > 60) return std::nullopt;
    const sys_seconds next =
        sys_days(day) + hours(parts[3]) + minutes(parts[4]) + seconds(parts[5] + 1);
    const sys_days next_midnight = floor<days>(next);
    const year_month_day next_day(next_midnight);
    const hh_mm_ss time(next - next_midnight);
    if (static_cast<int>(next_day.year()) > 9999) return std::nullopt;
    char text[32];
    std::snprintf(text, sizeof text, "%04d%02u%02u-%02d%02d%02d", static_cast<int>(next_day.year()),
                  static_cast<unsigned>(next_day.month()), static_cast<unsigned>(next_day.day()),
                  static_cast<int>(time.hours().count()), static_cast<int>(time.minutes().count()),
                  static_cast<int>(time.seconds().count()));
    return text;
}

/// Those that the new one must be later than: for a dependent backup those of its set.
Result<std::vector<std::string>> labels_before(const repo::Repository& repository,
                                               const std::string& stanza, const std::string& prior,
                                               const std::string& this_year) {
    std::vector<std::string> labels, past;
    std::string year;
    // What is nearly always the newest year is asked for before that is known.
    CHRONOS_TRY(storage::at_once(
        *repository.storage,
        {storage::answer_into(labels, [&] { return labels_of_directories(repository, stanza); }),
         storage::answer_into(year, [&] { return newest_year(repository, stanza); }),
         storage::answer_into(past,
                              [&] { return labels_of_year(repository, stanza, this_year); })}));
    if (!year.empty() && year != this_year)
        past = CHRONOS_TRY(labels_of_year(repository, stanza, year));
    std::ranges::move(past, std::back_inserter(labels));
    std::erase_if(labels, [&](const std::string& label) {
        return !label.starts_with(prior.substr(0, std::min(prior.size(), kFullLabelSize)));
    });
    return labels;
}

std::chrono::milliseconds rest_of_second() {
    const auto now = std::chrono::duration_cast<std::chrono::milliseconds>(
        std::chrono::system_clock::now().time_since_epoch());
    return std::chrono::milliseconds(1000 - now.count() % 1000);
}

}  // namespace

Result<std::string> make_label(const repo::Repository& repository, const std::string& stanza,
                               repo::BackupType type, const std::string& prior, UnixTime start,
                               const std::string& known, const Cancellation& cancel) {
    const std::string now = format_label_time(start);
    std::vector<std::string> before =
        CHRONOS_TRY(labels_before(repository, stanza, prior, now.substr(0, 4)));
    if (!known.empty()) before.push_back(known);
    const std::string latest = latest_stamp(before);
    if (now > latest) return format_label(type, prior, now);
    const std::string soon = format_label_time(start + 1);
    if (soon > latest) {
        CHRONOS_TRY(cancel.sleep(rest_of_second()));
        return format_label(type, prior, soon);
    }
    const std::optional<std::string> next = stamp_after(latest);
    if (!next)
        return Error(ErrorKind::clock, "there can be no backup label later than '" + latest + "'")
            .with_hint("The clock was wrong when the latest backup was made: remove that backup.");
    log_warn("backup label '" + format_label(type, prior, *next) +
             "' is ahead of the local time, because the latest backup's is\n"
             "HINT: Backups are made with another time zone, or the clock was changed.");
    return format_label(type, prior, *next);
}

}  // namespace chronos::ops::backup
