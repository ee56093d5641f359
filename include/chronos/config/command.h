#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace chronos::config {

/// In alphabetical order, as help lists them.
enum class CommandId {
    annotate,
    archive_get,
    archive_push,
    backup,
    check,
    config_list,
    drill,
    engine,
    expire,
    health,
    help,
    hold,
    info,
    look,
    maintenance,
    mount,
    mounts,
    recover_table,
    rekey,
    repair,
    replica,
    repo_get,
    repo_ls,
    repo_usage,
    restore,
    serve,
    stanza_claim,
    stanza_create,
    stanza_delete,
    stanza_upgrade,
    start,
    stop,
    unhold,
    verify,
    version,
};
inline constexpr std::size_t kCommandCount = static_cast<std::size_t>(CommandId::version) + 1;

/// A set of commands: `CommandId::backup | CommandId::restore`.
class Commands {
    static_assert(kCommandCount <= 64, "one bit each");

public:
    constexpr Commands() = default;
    constexpr Commands(CommandId id) : bits_(std::uint64_t{1} << static_cast<unsigned>(id)) {}

    constexpr bool contains(CommandId id) const { return contains_all({id}); }
    constexpr bool contains_all(Commands others) const { return (others.bits_ & ~bits_) == 0; }
    constexpr bool empty() const { return bits_ == 0; }
    constexpr int size() const { return std::popcount(bits_); }

    constexpr Commands with(Commands others) const { return Commands(bits_ | others.bits_); }
    constexpr Commands without(Commands others) const { return Commands(bits_ & ~others.bits_); }

private:
    explicit constexpr Commands(std::uint64_t bits) : bits_(bits) {}

    std::uint64_t bits_ = 0;
};
constexpr Commands operator|(Commands a, Commands b) {
    return a.with(b);
}
constexpr Commands operator|(CommandId a, CommandId b) {
    return Commands(a).with(b);
}

/// What the command line and the log need to know of a command before it runs.
struct CommandInfo {
    CommandId id;
    std::string_view name;
    std::string_view summary;  ///< one sentence
    bool internal = false;     ///< not in help
    bool parameters = false;   ///< takes positional arguments
    bool log_file = false;     ///< writes `<log-path>/<stanza>-<command>.log`
    bool quiet = false;        ///< its result is its output: no "command begin" at level info
    bool changes_repositories = false;  ///< is refused where two of them are the same place
    bool per_segment = false;   ///< runs for every WAL segment: warnings would drown a server's log
    bool standalone = false;    ///< answers even where the configuration is broken
    bool every_option = false;  ///< understands whatever option there is
    /// Of an engine, that does the work of this command by its options; that of its name besides.
    std::string_view engine_roles = {};
    std::string_view details = {};
};

std::span<const CommandInfo> command_table();
const CommandInfo& command_info(CommandId id);
/// The exact name.
const CommandInfo* find_command(std::string_view name);

}  // namespace chronos::config
