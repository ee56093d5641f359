#pragma once

#include <algorithm>
#include <iterator>
#include <memory>
#include <mutex>
#include <vector>

namespace chronos::compress {

/// A codec context taken for the life of a stage and kept afterwards: a backup has thousands of
/// files of a few kilobytes, and a new context costs more than such a file (zstd -3, 8 KiB: 32 us
/// with a new one, 15 us with a kept one; reading 14 and 6; see bench/micro). The one last given
/// back goes first: it is in a processor's cache, and of the many threads that a distant repository
/// has few compute.
///
/// A Context has: a constructor from `key`; fits(key): may it serve that key; restart(): forget
/// everything of the former stream, whatever state that was left in; worth_keeping().
template <class Context>
class Lease {
public:
    template <class... Key>
    explicit Lease(const Key&... key) : context_(take(key...)) {}
    ~Lease() {
        if (!context_->worth_keeping()) return;
        Idle& idle = Idle::instance();
        const std::lock_guard lock(idle.mutex);
        if (idle.contexts.size() < kIdleMax) idle.contexts.push_back(std::move(context_));
    }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;

    Context* operator->() const { return context_.get(); }
    Context& operator*() const { return *context_; }

private:
    struct Idle {
        /// Never destroyed: a stage may end after the statics.
        static Idle& instance() {
            static Idle& idle = *new Idle;
            return idle;
        }
        std::mutex mutex;
        std::vector<std::unique_ptr<Context>> contexts;  ///< the one last given back is the last
    };
    static constexpr std::size_t kIdleMax = 16;

    template <class... Key>
    static std::unique_ptr<Context> take(const Key&... key) {
        std::unique_ptr<Context> context;
        {
            Idle& idle = Idle::instance();
            const std::lock_guard lock(idle.mutex);
            const auto found = std::find_if(idle.contexts.rbegin(), idle.contexts.rend(),
                                            [&](const auto& one) { return one->fits(key...); });
            if (found != idle.contexts.rend()) {
                context = std::move(*found);
                idle.contexts.erase(std::next(found).base());
            } else {
                // Those that are left serve other levels or forms, which a run seldom goes back to.
                idle.contexts.clear();
            }
        }
        if (!context) return std::make_unique<Context>(key...);
        context->restart();
        return context;
    }

    std::unique_ptr<Context> context_;
};

}  // namespace chronos::compress
