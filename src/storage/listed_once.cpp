#include "chronos/storage/listed_once.h"

#include <algorithm>
#include <exception>
#include <iterator>
#include <system_error>

namespace chronos::storage {
namespace {

/// What was read, and then what was not.
class HeadSource final : public io::Source {
public:
    HeadSource(std::string head, std::unique_ptr<io::Source> rest)
        : head_(std::move(head)), source_(io::bytes(head_)), rest_(std::move(rest)) {}
    Result<std::size_t> read(io::MutableBytes out) override {
        const std::size_t count = CHRONOS_TRY(source_.read(out));
        return count > 0 || out.empty() || rest_ == nullptr ? count : rest_->read(out);
    }

private:
    const std::string head_;
    io::MemorySource source_;
    std::unique_ptr<io::Source> rest_;
};

}  // namespace

struct ListedOnce::Ahead {
    bool done = false;
    bool taken = false;                ///< what is large is given to one
    std::optional<std::string> small;  ///< all of it
    Result<std::unique_ptr<io::Source>> source = Error(ErrorKind::internal, "not read yet");
};

/// Somebody asks: others wait until that has ended, however it does.
class ListedOnce::Asking {
public:
    Asking(ListedOnce& once, std::function<void()> forget)
        : once_(once), forget_(std::move(forget)) {}
    ~Asking() {
        const std::lock_guard lock(once_.mutex_);
        forget_();
        once_.changed_.notify_all();
    }
    Asking(const Asking&) = delete;
    Asking& operator=(const Asking&) = delete;

private:
    ListedOnce& once_;
    const std::function<void()> forget_;
};

ListedOnce::~ListedOnce() {
    for (std::thread& thread : threads_) thread.join();
}

/// Under the mutex, as the next one. A listing of all of a directory tells of each part of it.
std::optional<ListedOnce::Entries> ListedOnce::find(const Listing& listing) const {
    if (const auto same = known_.find(listing); same != known_.end() && same->second)
        return same->second;
    // A name of its own, since clang 14 lets no lambda have a structured binding.
    const auto& prefix = listing.second;
    if (!prefix) return std::nullopt;
    const auto all = known_.find({listing.first, ""});
    if (all == known_.end() || !all->second) return std::nullopt;
    Entries part;
    std::ranges::copy_if(*all->second, std::back_inserter(part),
                         [&](const Entry& entry) { return entry.name.starts_with(*prefix); });
    return part;
}

bool ListedOnce::is_on_its_way(const Listing& listing) const {
    const auto is_asked = [&](const Listing& one) {
        const auto found = known_.find(one);
        return found != known_.end() && !found->second;
    };
    return is_asked(listing) || (listing.second && is_asked({listing.first, ""}));
}

Result<ListedOnce::Entries> ListedOnce::listed(const Listing& listing,
                                               const std::function<Result<Entries>()>& ask) {
    {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return !is_on_its_way(listing); });
        if (auto known = find(listing)) return *std::move(known);
        known_[listing] = std::nullopt;
    }
    const Asking asking(*this, [&] {
        if (const auto own = known_.find(listing); !own->second) known_.erase(own);
    });
    auto entries = CHRONOS_TRY(ask());
    const std::lock_guard lock(mutex_);
    if (entries_ + entries.size() <= kEntriesMax) {
        known_[listing] = entries;
        entries_ += entries.size() + 1;
    }
    return entries;
}

Result<std::vector<Entry>> ListedOnce::list(const ObjectName& directory,
                                            const std::string& name_prefix) {
    return listed({directory, name_prefix}, [&] { return next_.list(directory, name_prefix); });
}

Result<std::vector<Entry>> ListedOnce::list_tree(const ObjectName& directory) {
    return listed({directory, std::nullopt}, [&] { return next_.list_tree(directory); });
}

Result<std::unique_ptr<io::Source>> ListedOnce::open_small(const ObjectName& name, Range range) {
    const Piece piece{name, range.offset_bytes, *range.size_bytes};
    {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] {
            const auto found = pieces_.find(piece);
            return found == pieces_.end() || found->second;
        });
        if (const auto found = pieces_.find(piece); found != pieces_.end())
            return std::make_unique<HeadSource>(*found->second, nullptr);
        pieces_[piece] = std::nullopt;
    }
    const Asking asking(*this, [&] {
        if (const auto own = pieces_.find(piece); !own->second) pieces_.erase(own);
    });
    auto source = CHRONOS_TRY(next_.open(name, range));
    std::string content = CHRONOS_TRY(io::read_all(*source, kRangeMax));
    const std::lock_guard lock(mutex_);
    if (piece_bytes_ + content.size() <= kRangesMax) {
        pieces_[piece] = content;
        piece_bytes_ += content.size();
    }
    return std::make_unique<HeadSource>(std::move(content), nullptr);
}

Result<std::unique_ptr<io::Source>> ListedOnce::open(const ObjectName& name, Range range) {
    if (!next_.features().remote) return next_.open(name, range);
    if (range.size_bytes && *range.size_bytes <= kRangeMax) return open_small(name, range);
    if (range.size_bytes || range.offset_bytes > 0) return next_.open(name, range);
    {
        std::unique_lock lock(mutex_);
        const auto found = objects_.find(name);
        const std::shared_ptr<Ahead> ahead = found == objects_.end() ? nullptr : found->second;
        if (ahead) changed_.wait(lock, [&] { return ahead->done; });
        if (ahead && ahead->small) return std::make_unique<HeadSource>(*ahead->small, nullptr);
        // What went wrong may go right now; that there is no such object is an answer.
        if (ahead && !ahead->source && ahead->source.error().kind() == ErrorKind::not_found)
            return ahead->source.error();
        if (ahead && ahead->source && !ahead->taken) {
            ahead->taken = true;
            return std::move(ahead->source);
        }
    }
    return next_.open(name, range);
}

void ListedOnce::ask_ahead(std::function<void()> question) {
    if (!next_.features().remote) return;
    const auto ask = [question = std::move(question)]() noexcept {
        try {
            question();
        } catch (const std::exception&) {
            // Whoever comes with the question asks it then.
        }
    };
    const std::lock_guard lock(mutex_);
    try {
        threads_.emplace_back(ask);
    } catch (const std::system_error&) {
        // As many threads as the system gives.
    }
}

void ListedOnce::read_ahead(const ObjectName& name) {
    if (!next_.features().remote) return;
    const auto ahead = std::make_shared<Ahead>();
    {
        const std::lock_guard lock(mutex_);
        if (!objects_.emplace(name, ahead).second) return;
    }
    const auto end = [this, name, ahead] {
        const std::lock_guard lock(mutex_);
        ahead->done = true;
        changed_.notify_all();
    };
    const auto read = [this, name, ahead]() -> Result<std::unique_ptr<io::Source>> {
        auto source = CHRONOS_TRY(next_.open(name, {}));
        std::string head;
        std::vector<std::byte> buffer(std::size_t{256} << 10);
        while (head.size() < kHeadMax) {
            const std::size_t count = CHRONOS_TRY(source->read(buffer));
            if (count == 0) {
                if (head.size() <= kRangeMax) ahead->small = head;
                return std::make_unique<HeadSource>(std::move(head), nullptr);
            }
            head += io::text(io::Bytes(buffer).first(count));
        }
        return std::make_unique<HeadSource>(std::move(head), std::move(source));
    };
    const auto run = [ahead, read, end]() noexcept {
        try {
            ahead->source = read();
        } catch (const std::exception& exception) {
            ahead->source = Error(ErrorKind::internal, exception.what());
        }
        end();
    };
    const std::lock_guard lock(mutex_);
    try {
        threads_.emplace_back(run);
    } catch (const std::system_error&) {
        objects_.erase(name);
        ahead->done = true;
        changed_.notify_all();
    }
}

}  // namespace chronos::storage
