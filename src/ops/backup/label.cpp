#include "ops/backup/label.h"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <vector>

#include "chronos/base/log.h"
#include "chronos/base/text.h"

namespace chronos::ops::backup {
namespace {

constexpr std::size_t kFullLabelSize = 16;  // "20261120-075745F"
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

std::string format_label(repo::BackupType type, const std::string& prior, UnixTime time) {
    const std::string stamp = format_label_time(time);
    switch (type) {
        case repo::BackupType::full: return stamp + "F";
        case repo::BackupType::diff: return prior.substr(0, kFullLabelSize) + "_" + stamp + "D";
        case repo::BackupType::incr: break;
    }
    return prior.substr(0, kFullLabelSize) + "_" + stamp + "I";
}

Result<std::string> latest_label(const repo::Repository& repository, const std::string& stanza,
                                 repo::BackupType type, const std::string& prior,
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
    if (type != repo::BackupType::full)
        std::erase_if(labels, [&](const std::string& label) {
            return label.size() == kFullLabelSize ||
                   !label.starts_with(prior.substr(0, kFullLabelSize));
        });
    return labels.empty() ? std::string() : *std::ranges::max_element(labels);
}

std::chrono::milliseconds rest_of_second() {
    const auto now = std::chrono::duration_cast<std::chrono::milliseconds>(
        std::chrono::system_clock::now().time_since_epoch());
    return std::chrono::milliseconds(1000 - now.count() % 1000);
}

}  // namespace

Result<std::string> make_label(const repo::Repository& repository, const std::string& stanza,
                               repo::BackupType type, const std::string& prior, UnixTime start,
                               const Cancellation& cancel) {
    const std::string this_year = format_label_time(start).substr(0, 4);
    const std::string latest =
        CHRONOS_TRY(latest_label(repository, stanza, type, prior, this_year));
    const std::string label = format_label(type, prior, start);
    if (label > latest) return label;
    std::string next = format_label(type, prior, start + 1);
    if (next > latest) {
        CHRONOS_TRY(cancel.sleep(rest_of_second()));
        return next;
    }
    return Error(ErrorKind::clock, "new backup label '" + label +
                                       "' is not later than latest backup label '" + latest + "'")
        .with_hint("Has the timezone changed?")
        .with_hint("Is there clock skew?");
}

}  // namespace chronos::ops::backup
