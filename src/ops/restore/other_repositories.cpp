#include "ops/restore/other_repositories.h"

#include <algorithm>
#include <chrono>
#include <future>
#include <memory>
#include <thread>

#include "chronos/pgdata/wal.h"
#include "chronos/repo/archives.h"
#include "chronos/repo/info.h"
#include "chronos/repo/wal_archive.h"

namespace chronos::ops::restore {
namespace {

constexpr std::chrono::seconds kPatience{10};

/// What a repository is asked for; of its own, as it may outlive who asks.
struct Question {
    repo::Repository repository;
    std::string stanza;
    std::string pg_version;
    std::uint64_t system_id = 0;
};

/// The last segment of an archive; "" if it has none.
Result<std::string> last_segment_in(const Question& question, const std::string& archive_id) {
    const std::string archive = repo::archive_path(question.stanza) + "/" + archive_id;
    storage::Storage& storage = *question.repository.storage;
    std::string last, directory;
    for (const storage::Entry& entry : CHRONOS_TRY(storage.list(archive)))
        if (repo::is_wal_directory(entry.name)) directory = std::max(directory, entry.name);
    if (directory.empty()) return last;
    for (const storage::Entry& entry : CHRONOS_TRY(storage.list(archive + "/" + directory)))
        if (repo::is_archived_segment(entry))
            last = std::max(last, entry.name.substr(0, pgdata::kWalSegmentNameSize));
    return last;
}

Result<std::string> newest_segment(const Question& question) {
    const auto info = CHRONOS_TRY(repo::load_archive_info(question.repository, question.stanza));
    std::string newest;
    for (const repo::HistoryEntry& entry :
         repo::archives_of(info.history, question.pg_version, question.system_id))
        newest = std::max(newest, CHRONOS_TRY(last_segment_in(question, entry.archive_id())));
    return newest;
}

/// "" if the repository does not say.
std::string ask(Question question) {
    auto answer = std::make_shared<std::promise<std::string>>();
    std::future<std::string> answered = answer->get_future();
    std::thread([answer, asked = std::move(question)] {
        std::string newest;
        try {
            if (auto found = newest_segment(asked)) newest = *std::move(found);
        } catch (const std::exception&) {
        }
        answer->set_value(std::move(newest));
    }).detach();
    return answered.wait_for(kPatience) == std::future_status::ready ? answered.get() : "";
}

bool is_behind(const std::string& segment, const std::string& last, Timeline target) {
    const Timeline timeline = pgdata::timeline_of_segment(segment);
    return timeline > target ||
           (timeline == target && (last.empty() || segment.substr(8) > last.substr(8)));
}

}  // namespace

void tell_of_other_wal(const RestoreRequest& request, const std::string& last, RestorePlan& plan) {
    for (const repo::Repository& other : request.other_repositories) {
        const std::string newest =
            ask({other, request.stanza, std::string(plan.manifest.pg_version),
                 plan.manifest.system_id});
        if (newest.empty() || !is_behind(newest, last, plan.target_timeline)) continue;
        plan.warnings.push_back("repo" + std::to_string(other.key) + " has WAL up to " + newest +
                                ", and this restore reads " +
                                (last.empty() ? "none" : "up to " + last + " only") +
                                ", because of --repo; without it, --set=" + plan.manifest.label +
                                " takes the same backup and the WAL of all repositories");
    }
}

}  // namespace chronos::ops::restore
