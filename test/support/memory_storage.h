#pragma once

#include <map>
#include <mutex>

#include "chronos/storage/storage.h"

namespace chronos::test {

/// A Storage in memory that can lose power: crash() leaves only what the contract promises to be
/// durable. Flat, as an object store: directories are the prefixes of names. Any thread.
class MemoryStorage final : public storage::Storage {
public:
    MemoryStorage();
    ~MemoryStorage() override;

    /// Forgets what was not synced: plain objects since the last sync_tree() above them are gone,
    /// and what was removed since then is back. Sinks still open write into the void.
    void crash();

    storage::Features features() const override { return {.links = true}; }
    std::string describe(const storage::ObjectName& name) const override;
    Result<std::unique_ptr<io::Source>> open(const storage::ObjectName& name,
                                             storage::Range range) override;
    Result<std::unique_ptr<io::Sink>> create(const storage::ObjectName& name,
                                             storage::WriteMode mode) override;
    Result<std::optional<storage::Entry>> info(const storage::ObjectName& name) override;
    Result<std::vector<storage::Entry>> list(const storage::ObjectName& directory,
                                             const std::string& name_prefix) override;
    Result<std::vector<storage::Entry>> list_tree(const storage::ObjectName& directory) override;
    Result<> remove(const storage::ObjectName& name) override;
    Result<> remove_tree(const storage::ObjectName& directory) override;
    Result<> make_path(const storage::ObjectName& directory) override;
    Result<> make_link(const storage::ObjectName& name, const std::string& destination) override;
    Result<> sync_tree(const storage::ObjectName& directory) override;

    /// The objects by name, shared with the sinks that write them.
    struct State;

private:
    Result<> check_name(const storage::ObjectName& name) const;
    Result<> check_directory(const storage::ObjectName& name) const;

    std::shared_ptr<State> state_;
};

}  // namespace chronos::test
