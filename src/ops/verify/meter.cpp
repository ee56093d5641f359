#include "ops/verify/meter.h"

#include "chronos/io/cpu_tokens.h"
#include "chronos/storage/forwarding.h"

namespace chronos::ops::verify {
namespace {

using Clock = std::chrono::steady_clock;

class MeteredSource final : public io::Source {
public:
    MeteredSource(std::unique_ptr<io::Source> next, Meter& meter)
        : next_(std::move(next)), meter_(meter) {}

    Result<std::size_t> read(io::MutableBytes out) override {
        const std::size_t count = CHRONOS_TRY(next_->read(out));
        CHRONOS_TRY(meter_.read(count));
        return count;
    }

private:
    std::unique_ptr<io::Source> next_;
    Meter& meter_;
};

class MeteredStorage final : public storage::ReadOnlyStorage {
public:
    MeteredStorage(std::shared_ptr<storage::Storage> next, Meter& meter)
        : ReadOnlyStorage(std::move(next)), meter_(meter) {}

    Result<std::unique_ptr<io::Source>> open(const storage::ObjectName& name,
                                             storage::Range range) override {
        auto source = CHRONOS_TRY(next_.open(name, range));
        return std::make_unique<MeteredSource>(std::move(source), meter_);
    }

private:
    Meter& meter_;
};

}  // namespace

void Meter::enter(const std::string& phase) {
    {
        const std::lock_guard lock(mutex_);
        phase_ = phase;
    }
    show(/*now=*/true);
}

void Meter::expect(std::uint64_t bytes, std::uint64_t objects) {
    bytes_total_ += bytes;
    objects_total_ += objects;
}

void Meter::object_done() {
    ++objects_done_;
    show(/*now=*/false);
}

Result<> Meter::read(std::uint64_t bytes) {
    CHRONOS_TRY(cancel_.check());
    bytes_done_ += bytes;
    show(/*now=*/false);
    return rate_ == 0 ? Result<>() : hold_back(bytes);
}

// Who reads pays for it before the next read of anybody: the sum over all threads keeps the rate,
// and after an idle time there is no burst.
Result<> Meter::hold_back(std::uint64_t bytes) {
    const auto price = std::chrono::duration_cast<Clock::duration>(
        std::chrono::duration<double>(static_cast<double>(bytes) / static_cast<double>(rate_)));
    Clock::time_point until;
    {
        const std::lock_guard lock(mutex_);
        free_at_ = std::max(free_at_, Clock::now()) + price;
        until = free_at_;
    }
    const io::WaitScope waiting;
    const auto left = until - Clock::now();
    if (left <= Clock::duration::zero()) return {};
    return cancel_.sleep(std::chrono::duration_cast<std::chrono::milliseconds>(left));
}

void Meter::show(bool now) {
    constexpr auto kInterval = std::chrono::milliseconds(250);
    if (!progress_) return;
    std::unique_lock lock(mutex_, std::defer_lock);
    if (now)
        lock.lock();
    else if (!lock.try_lock())
        return;
    const auto time = Clock::now();
    if (!now && time - shown_ < kInterval) return;
    shown_ = time;
    progress_({phase_, std::max<std::uint64_t>(bytes_total_, bytes_done_), bytes_done_,
               std::max<std::uint64_t>(objects_total_, objects_done_), objects_done_});
}

std::shared_ptr<storage::Storage> make_metered(std::shared_ptr<storage::Storage> next,
                                               Meter& meter) {
    return std::make_shared<MeteredStorage>(std::move(next), meter);
}

}  // namespace chronos::ops::verify
