#pragma once

#include <algorithm>
#include <memory>
#include <vector>

namespace chronos::compress {

/// A codec context taken for the life of a stage and kept by the thread afterwards: a backup has
/// thousands of files of a few kilobytes, and a new context costs more than such a file (zstd -3,
/// 8 KiB: 32 us with a new one, 15 us with a kept one; reading 14 and 6; see bench/micro).
///
/// A Context has: a constructor from `key`; fits(key): may it serve that key; restart(): forget
/// everything of the former stream, whatever state that was left in; worth_keeping().
template <class Context>
class Lease {
public:
    template <class... Key>
    explicit Lease(const Key&... key) : context_(take(key...)) {}
    ~Lease() {
        if (idle().size() < kIdleMax && context_->worth_keeping())
            idle().push_back(std::move(context_));
    }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;

    Context* operator->() const { return context_.get(); }
    Context& operator*() const { return *context_; }

private:
    using Idle = std::vector<std::unique_ptr<Context>>;
    /// A pipeline has one stage of a kind, a bundle's super block may add a second.
    static constexpr std::size_t kIdleMax = 2;

    static Idle& idle() {
        thread_local Idle contexts;
        return contexts;
    }

    template <class... Key>
    static std::unique_ptr<Context> take(const Key&... key) {
        Idle& contexts = idle();
        const auto found = std::find_if(contexts.begin(), contexts.end(),
                                        [&](const auto& one) { return one->fits(key...); });
        if (found == contexts.end()) {
            // Those that are left serve other levels or forms, which a run does not go back to.
            contexts.clear();
            return std::make_unique<Context>(key...);
        }
        auto context = std::move(*found);
        contexts.erase(found);
        context->restart();
        return context;
    }

    std::unique_ptr<Context> context_;
};

}  // namespace chronos::compress
