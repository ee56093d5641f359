#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <system_error>
#include <thread>
#include <vector>

#include "chronos/io/cpu_tokens.h"

#include "chronos/ops/archive/spool.h"

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

}  // namespace

void fetch_ahead(const GetSettings& settings, const Spool& spool, const std::string& segment,
                 unsigned processes, const std::function<bool()>& go_on) {
    const std::vector<std::string> segments = spool.following(segment);
    const std::size_t threads =
        std::min<std::size_t>(std::size_t{kUnderWayPerProcess} * processes, segments.size());
    Fetcher fetcher(settings, spool, segments, processes, go_on);
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
