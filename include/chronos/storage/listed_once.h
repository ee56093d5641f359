#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "chronos/storage/forwarding.h"

namespace chronos::storage {

/// Asks for each directory once: who decides by several looks at the same directories decides by
/// one state of them, and waits for one answer. For as long as a decision takes. Up to kEntriesMax
/// entries are kept, what does not fit is asked for again. An error is not kept. Any thread.
///
/// Of a storage where a call is a round trip, small ranges of objects are kept too, and hints are
/// followed: so that what depends on no other answer is asked for at the same time, however the
/// decision is written down.
class ListedOnce final : public ReadOnlyStorage {
public:
    static constexpr std::size_t kEntriesMax = std::size_t{1} << 16;
    static constexpr std::size_t kRangeMax = std::size_t{256} << 10;
    static constexpr std::size_t kRangesMax = std::size_t{16} << 20;
    /// Of an object that is read ahead; what is behind is read when it is wanted.
    static constexpr std::size_t kHeadMax = std::size_t{64} << 20;

    using ReadOnlyStorage::ReadOnlyStorage;
    /// Waits for the answers that are still on their way.
    ~ListedOnce() override;
    ListedOnce(const ListedOnce&) = delete;
    ListedOnce& operator=(const ListedOnce&) = delete;

    Result<std::unique_ptr<io::Source>> open(const ObjectName& name, Range range) override;
    Result<std::vector<Entry>> list(const ObjectName& directory,
                                    const std::string& name_prefix) override;
    Result<std::vector<Entry>> list_tree(const ObjectName& directory) override;
    void ask_ahead(std::function<void()> question) override;
    void read_ahead(const ObjectName& name) override;

private:
    using Entries = std::vector<Entry>;
    /// Directory and prefix; of all below a directory no prefix.
    using Listing = std::pair<ObjectName, std::optional<std::string>>;
    using Piece = std::tuple<ObjectName, std::uint64_t, std::uint64_t>;
    struct Ahead;
    class Asking;

    std::optional<Entries> find(const Listing& listing) const;
    bool is_on_its_way(const Listing& listing) const;
    Result<Entries> listed(const Listing& listing, const std::function<Result<Entries>()>& ask);
    Result<std::unique_ptr<io::Source>> open_small(const ObjectName& name, Range range);

    std::mutex mutex_;
    std::condition_variable changed_;
    std::map<Listing, std::optional<Entries>> known_;  ///< without: on its way
    std::size_t entries_ = 0;
    std::map<Piece, std::optional<std::string>> pieces_;
    std::size_t piece_bytes_ = 0;
    std::map<ObjectName, std::shared_ptr<Ahead>> objects_;
    std::vector<std::thread> threads_;
};

}  // namespace chronos::storage
