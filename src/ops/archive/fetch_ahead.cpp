#include <unistd.h>

#include <atomic>
#include <exception>
#include <thread>
#include <vector>

#include "chronos/ops/archive_spool.h"

namespace chronos::ops::archive {
namespace {

/// What the threads share.
class Fetcher {
public:
    Fetcher(const GetSettings& settings, const Spool& spool, std::vector<std::string> segments,
            const std::function<bool()>& go_on)
        : settings_(settings), spool_(spool), segments_(std::move(segments)), go_on_(go_on) {}

    void work() noexcept {
        try {
            while (!ended_ && go_on_()) {
                const std::size_t index = next_++;
                if (index >= segments_.size() || !fetch(segments_[index])) break;
            }
        } catch (const std::exception&) {
            // Memory ran out. Recovery gets on without us.
        }
        ended_ = true;
    }

private:
    bool fetch(const std::string& segment) {
        const std::string path = spool_.path(segment);
        if (::access(path.c_str(), F_OK) == 0) return true;
        const auto outcome = get_wal(settings_, segment, path);
        return outcome && *outcome == GetOutcome::found;
    }

    const GetSettings& settings_;
    const Spool& spool_;
    const std::vector<std::string> segments_;
    const std::function<bool()>& go_on_;
    std::atomic<std::size_t> next_{0};
    std::atomic<bool> ended_{false};
};

}  // namespace

void fetch_ahead(const GetSettings& settings, const Spool& spool, const std::string& segment,
                 unsigned threads, const std::function<bool()>& go_on) {
    Fetcher fetcher(settings, spool, spool.following(segment), go_on);
    std::vector<std::thread> helpers;
    while (helpers.size() + 1 < threads) helpers.emplace_back([&] { fetcher.work(); });
    fetcher.work();
    for (std::thread& helper : helpers) helper.join();
}

}  // namespace chronos::ops::archive
