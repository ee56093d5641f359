#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "chronos/base/result.h"
#include "chronos/config/command.h"
#include "chronos/config/option_name.h"

/// Options as pgBackRest knows them: command line, environment, configuration file, defaults.
/// Source: docs/format/configuration.md.
namespace chronos::config {

enum class Source { default_value, file, environment, command_line };

/// As users write it, without "--": "repo1-path".
std::string written(Name name);

/// What one option was set to. Lists have any number of texts, everything else exactly one, unless
/// it was negated (`--no-x`), when it has none.
struct Setting {
    const Option* option = nullptr;
    unsigned index = 0;  ///< the N of repoN or pgN, 0 for an option of no group
    Source source = Source::default_value;
    bool negated = false;
    std::vector<std::string> texts;  ///< checked; paths without a trailing slash
};

/// One line of config-list.
struct ListedOption {
    std::string name;   ///< with index: "repo1-path"
    std::string value;  ///< elements of a list are separated by commas; secrets "<redacted>"
    Source source = Source::default_value;
    std::string_view summary;
};

/// The resolved options of one command. Immutable, so any thread may read it; cheap enough to copy.
///
/// An option is asked for by its name, one of a group with its index: "pg1-port", or
/// {"repo-path", key}. A name that is no option's, or that of one of another type, does not
/// compile.
class Config {
public:
    Config() = default;

    const std::string& command() const { return command_; }
    /// The command whose sections and defaults apply: "backup" for `engine backup`, archive-push
    /// for `engine archive`, else command().
    std::string_view rules() const { return command_info(rules_).name; }
    /// Positional arguments.
    const std::vector<std::string>& parameters() const { return parameters_; }
    /// "" if none.
    const std::string& stanza() const { return stanza_; }
    /// Set by somebody and not only by default; `--no-x` counts as set.
    bool has(Name name) const;
    Source source(Name name) const;

    /// Each returns what was set, else the default of the option for this command, else nothing:
    /// "", false, 0, an empty list.
    std::string get_string(TextName name) const;
    bool get_bool(BoolName name) const;
    std::int64_t get_int(IntName name) const;
    std::uint64_t get_size(SizeName name) const;  ///< bytes
    std::chrono::milliseconds get_time(TimeName name) const;
    std::vector<std::string> get_list(ListName name) const;
    /// Of "name=value" elements; a later one replaces an earlier one of the same name.
    std::map<std::string, std::string> get_hash(HashName name) const;
    /// The same of an option whose keys and values are numbers.
    std::map<std::uint64_t, std::uint64_t> get_number_map(HashName name) const;

    /// Configured repositories in ascending order: those with any repoN option; 1 if there is none.
    std::vector<unsigned> repo_keys() const;
    /// Whether the repository is a directory, at its repo-path; what it is else lies elsewhere.
    bool is_directory(unsigned repo_key) const;
    /// Configured clusters in ascending order; none if there is none.
    std::vector<unsigned> pg_keys() const;

    /// "--name=value", "--name" or "--no-name" of what the command line set and another command
    /// understands too, sorted and without secrets: for `restore_command` and child processes.
    /// Values are not quoted.
    std::vector<std::string> command_line_options(std::string_view for_command) const;
    /// Everything that is not a default as `command begin` lists it: quoted where a shell would
    /// need it, secrets as "<redacted>", sorted.
    std::string describe() const;

    /// Every option that can stand in a file, with its value or default, sorted by name; of groups
    /// the configured ones.
    std::vector<ListedOption> list() const;

    /// The main configuration file that was read, "" if none.
    const std::string& config_file() const { return config_file_; }
    /// What resolve() warned of: ignored, or read otherwise than it looks. No secrets. Further
    /// lines begin with "NOTE: " or "HINT: ".
    const std::vector<std::string>& warnings() const { return warnings_; }

private:
    friend class Resolver;
    const Setting* find(const Option& option, unsigned index) const;
    const Setting* find(Name name) const;
    /// The text of the option, or its default, computed ones included.
    std::string text_of(const Option& option, unsigned index) const;
    std::string text_of(Name name) const;
    std::vector<std::string> texts_of(Name name) const;
    std::string default_text(const Option& option, unsigned index) const;
    std::string default_time(const Option& option) const;
    ListedOption listed(const Option& option, unsigned index) const;
    std::vector<unsigned> keys(bool of_repositories) const;

    std::string command_;
    CommandId command_id_ = CommandId::help;
    CommandId rules_ = CommandId::help;  ///< whose sections and defaults apply
    std::string stanza_;
    std::vector<std::string> parameters_;
    std::string config_file_;
    std::vector<std::string> warnings_;
    std::string program_;
    bool terminal_ = false;
    std::vector<Setting> settings_;  ///< in the order of their names with index
};

/// Where options come from, apart from files.
struct Input {
    std::vector<std::string> arguments;    ///< without the program's name
    std::vector<std::string> environment;  ///< "NAME=value"
    std::string program;    ///< absolute path of the executable: the default of `cmd`
    bool terminal = false;  ///< standard output is one: the console says more
    std::string exec_id;    ///< identifies this run unless `exec-id` is given
};

/// Reads the configuration files that `input` points to and checks every option. `warnings` gets
/// what is ignored, in pgBackRest's words, and what is read otherwise than it looks, also when the
/// call fails.
Result<Config> resolve(const Input& input, std::vector<std::string>& warnings);

}  // namespace chronos::config
