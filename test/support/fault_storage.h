#pragma once

#include <functional>
#include <mutex>

#include "chronos/storage/forwarding.h"

namespace chronos::test {

enum class Operation {
    open,
    read,
    create,
    write,
    finish,
    info,
    list,
    list_tree,
    remove,
    remove_tree,
    make_path,
    make_link,
    sync_tree,
};

/// One fault as data: the calls `first_call`, `first_call` + 1, ... of `operation` on objects whose
/// name matches `pattern` (shell style, '*' also matches '/') fail.
struct Fault {
    static constexpr unsigned kEver = ~0u;

    Operation operation = Operation::open;
    std::string pattern = "*";
    unsigned first_call = 1;
    unsigned calls = 1;  ///< how many fail; kEver: all from the first on
    Error error = Error(ErrorKind::service, "injected fault").as_transient();
    /// Of a read only: instead of failing it says that the object ends there, as a response whose
    /// connection was lost does if nobody counts its bytes.
    bool short_read = false;
};

/// Passes calls on to another Storage, makes those fail that a Fault names, and notes all of them
/// in order. Any thread.
class FaultStorage final : public storage::ForwardingStorage {
public:
    using ForwardingStorage::ForwardingStorage;

    void add(Fault fault);
    /// Is told of each call of these before it is made; set before the first call.
    std::function<void(Operation operation, const std::string& name)> watch;
    /// All calls so far that change something: "create a/b", "finish a/b", "remove a/b", ...
    std::vector<std::string> changes() const;

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

    /// The fault that strikes this call, if any; for the sources and sinks it hands out.
    std::optional<Fault> strike(Operation operation, const std::string& name);

private:
    Result<> check(Operation operation, const std::string& name);

    struct Armed {
        Fault fault;
        unsigned seen = 0;
    };
    mutable std::mutex mutex_;
    std::vector<Armed> faults_;
    std::vector<std::string> changes_;
};

}  // namespace chronos::test
