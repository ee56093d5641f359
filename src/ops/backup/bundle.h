#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "chronos/io/stream.h"
#include "chronos/storage/storage.h"
#include "ops/backup/stages.h"

namespace chronos::ops::backup {

/// Numbers the bundles of a backup in the order in which they begin. Any thread.
class BundleIds {
public:
    std::uint64_t next() { return last_.fetch_add(1, std::memory_order_relaxed) + 1; }

private:
    std::atomic<std::uint64_t> last_{0};
};

/// A bundle in the making: its members' stored forms one after the other. It has no number, and
/// there is no object, until the first member needs them. One thread. Source:
/// docs/format/bundles-and-blocks.md, Placement.
class Bundle {
public:
    /// `directory` is that of the backup; all outlive the bundle.
    Bundle(storage::Storage& storage, const std::string& directory, BundleIds& ids,
           StageClock& clock)
        : storage_(storage), directory_(directory), ids_(ids), clock_(clock) {}
    Bundle(const Bundle&) = delete;
    Bundle& operator=(const Bundle&) = delete;

    struct Member {
        std::uint64_t bundle_id = 0;
        std::uint64_t offset = 0;        ///< of its first byte in the bundle
        std::unique_ptr<io::Sink> sink;  ///< finishing it ends the member, not the bundle
    };
    /// Makes the object if this is its first member. One member at a time.
    Result<Member> add_member();

    /// Ends the bundle, if there is one.
    Result<> finish();

private:
    storage::Storage& storage_;
    const std::string& directory_;
    BundleIds& ids_;
    StageClock& clock_;
    std::uint64_t id_ = 0;
    std::uint64_t size_ = 0;
    std::unique_ptr<io::Sink> object_;
};

}  // namespace chronos::ops::backup
