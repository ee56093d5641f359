#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <set>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "chronos/io/cpu_tokens.h"
#include "chronos/ops/archive/spool.h"
#include "chronos/pgdata/wal.h"
#include "chronos/repo/archives.h"
#include "chronos/repo/info.h"
#include "chronos/repo/wal_archive.h"
#include "chronos/storage/forwarding.h"
#include "chronos/storage/listed_once.h"

namespace chronos::ops::archive {
namespace {

/// Segments under way for each one that is decompressed: over a distant link most of the time of a
/// segment is spent waiting for answers.
constexpr unsigned kUnderWayPerProcess = 4;

/// What the threads share.
class Fetcher {
public:
    Fetcher(const GetSettings& settings, const Spool& spool, std::vector<std::string> segments,
            unsigned computing, const std::function<bool()>& go_on)
        : settings_(settings),
          spool_(spool),
          segments_(std::move(segments)),
          tokens_(computing),
          go_on_(go_on) {}

    void work() noexcept {
        try {
            while (fetch_next()) {
            }
        } catch (const std::exception&) {
            // Memory ran out. Recovery gets on without us.
        }
        ended_ = true;
    }

private:
    /// False if there is nothing more to do for any of the threads. Whoever may compute takes the
    /// next segment: one that took it earlier could be overtaken by all the rest.
    bool fetch_next() {
        const io::TokenScope computes(&tokens_);
        if (ended_ || !go_on_()) return false;
        const std::size_t index = next_++;
        return index < segments_.size() && fetch(segments_[index]);
    }

    bool fetch(const std::string& segment) const {
        const std::string path = spool_.path(segment);
        if (::access(path.c_str(), F_OK) == 0) return true;
        const auto outcome = get_wal(settings_, segment, path);
        return outcome && *outcome == GetOutcome::found;
    }

    const GetSettings& settings_;
    const Spool& spool_;
    const std::vector<std::string> segments_;
    io::CpuTokens tokens_;
    const std::function<bool()>& go_on_;
    std::atomic<std::size_t> next_{0};
    std::atomic<bool> ended_{false};
};

/// An object that is read on only as long as somebody wants it.
class WantedSource final : public io::Source {
public:
    WantedSource(std::unique_ptr<io::Source> next, const std::function<bool()>& go_on)
        : next_(std::move(next)), go_on_(go_on) {}
    Result<std::size_t> read(io::MutableBytes out) override {
        constexpr std::uint64_t kBytesPerLook = std::uint64_t{1} << 20;
        if (since_look_ >= kBytesPerLook) {
            since_look_ = 0;
            if (!go_on_()) return Error(ErrorKind::cancelled, "nobody wants it any more");
        }
        const std::size_t count = CHRONOS_TRY(next_->read(out));
        since_look_ += count;
        return count;
    }

private:
    std::unique_ptr<io::Source> next_;
    const std::function<bool()>& go_on_;
    std::uint64_t since_look_ = 0;
};

class WantedStorage final : public storage::ReadOnlyStorage {
public:
    WantedStorage(std::shared_ptr<Storage> next, const std::function<bool()>& go_on)
        : ReadOnlyStorage(std::move(next)), go_on_(go_on) {}
    Result<std::unique_ptr<io::Source>> open(const storage::ObjectName& name,
                                             storage::Range range) override {
        return std::make_unique<WantedSource>(CHRONOS_TRY(next_.open(name, range)), go_on_);
    }

private:
    const std::function<bool()>& go_on_;
};

/// What is asked of the archives while some segments are fetched.
struct Questions {
    GetSettings settings;
    std::vector<std::string> segments;
};

/// Where each question is a round trip, what does not change from one segment to the next is asked
/// once, and what was not listed then is not asked for: who needs it asks for himself.
Questions asked_once(const GetSettings& settings, std::vector<std::string> segments,
                     const std::function<bool()>& go_on) {
    Questions once{settings, std::move(segments)};
    const auto control = pgdata::read_control_file(settings.pg_path);
    if (!control) return once;
    const auto cluster = repo::ClusterIdentity::of(*control);
    std::set<std::string> directories, listed;
    for (const std::string& segment : once.segments)
        directories.insert(std::string(repo::wal_directory(segment)));
    bool is_all = true;
    const auto list = [&](const repo::Repository& repository, const std::string& directory) {
        const auto entries = repository.storage->list(directory);
        is_all = is_all && entries;
        if (!entries) return;
        for (const storage::Entry& entry : *entries)
            listed.insert(entry.name.substr(0, pgdata::kWalSegmentNameSize));
    };
    for (repo::Repository& repository : once.settings.repositories) {
        if (!repository.storage->features().remote) {
            is_all = false;
            continue;
        }
        repository.storage = std::make_shared<storage::ListedOnce>(
            std::make_shared<WantedStorage>(std::move(repository.storage), go_on));
        repository.storage->read_ahead(repo::archive_info_name(settings.stanza));
        const auto info = repo::load_archive_info(repository, settings.stanza);
        is_all = is_all && info;
        if (!info) continue;
        for (const repo::HistoryEntry& entry :
             repo::archives_of(info->history, cluster.version, cluster.system_id))
            for (const std::string& directory : directories)
                list(repository, repo::archive_path(settings.stanza) + "/" + entry.archive_id() +
                                     "/" + directory);
    }
    if (is_all)
        once.segments.erase(std::ranges::find_if(once.segments,
                                                 [&](const std::string& segment) {
                                                     return !listed.contains(segment);
                                                 }),
                            once.segments.end());
    return once;
}

}  // namespace

void fetch_ahead(const GetSettings& settings, const Spool& spool, const std::string& segment,
                 unsigned processes, const std::function<bool()>& go_on) {
    const Questions once = asked_once(settings, spool.following(segment), go_on);
    if (once.segments.empty()) return;
    const std::size_t threads =
        std::min<std::size_t>(std::size_t{kUnderWayPerProcess} * processes, once.segments.size());
    Fetcher fetcher(once.settings, spool, once.segments, processes, go_on);
    std::vector<std::thread> helpers;
    try {
        while (helpers.size() + 1 < threads) helpers.emplace_back([&] { fetcher.work(); });
    } catch (const std::system_error&) {
        // The system has no more threads to give: those that are there do the work.
    }
    fetcher.work();
    for (std::thread& helper : helpers) helper.join();
}

}  // namespace chronos::ops::archive
