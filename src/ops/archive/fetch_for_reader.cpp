#include <algorithm>
#include <mutex>
#include <thread>

#include "chronos/ops/archive/spool.h"

namespace chronos::ops::archive {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kPollInterval(10);

/// Somebody of whom only the note of what he got last is known. No signal file says when he has all
/// he wants: it is when he asks no more.
class Reader {
public:
    Reader(const Spool& spool, std::string segment, std::chrono::milliseconds patience)
        : spool_(spool), patience_(patience), got_(std::move(segment)) {}

    /// Any thread.
    bool is_there() {
        const std::lock_guard lock(mutex_);
        const auto asked = spool_.last_asked();
        if (asked && asked != asked_) {
            // Somewhere else: that nothing is fetched for until two follow each other there.
            const std::vector<std::string> following = spool_.following(got_);
            gone_ = gone_ || (asked->segment != got_ &&
                              !std::ranges::binary_search(following, asked->segment));
            asked_ = asked;
            got_ = asked->segment;
            since_ = Clock::now();
        }
        return !gone_ && !spool_.must_clear() && Clock::now() - since_ < patience_;
    }

    std::string got() const {
        const std::lock_guard lock(mutex_);
        return got_;
    }

private:
    const Spool& spool_;
    const std::chrono::milliseconds patience_;
    mutable std::mutex mutex_;
    std::string got_;
    std::optional<Spool::Asked> asked_;
    Clock::time_point since_ = Clock::now();  ///< by a clock that nobody sets
    bool gone_ = false;
};

}  // namespace

void fetch_for_reader(const GetSettings& settings, const Spool& spool, const std::string& segment,
                      unsigned processes, std::chrono::milliseconds patience, int lock) {
    Reader reader(spool, segment, patience);
    for (std::string seen; reader.is_there(); std::this_thread::sleep_for(kPollInterval)) {
        // Once for each: beyond the end of the archive there would be no end of trying.
        const std::string got = reader.got();
        if (got == seen) continue;
        seen = got;
        if (!spool.is_low(got)) continue;
        spool.clean(got);
        fetch_ahead(settings, spool, got, processes, [&] { return reader.is_there(); });
    }
    if (spool.is_locked_by(lock)) spool.clean("");
}

}  // namespace chronos::ops::archive
