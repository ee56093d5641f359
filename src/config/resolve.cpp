#include <algorithm>
#include <optional>

#include "chronos/base/text.h"
#include "chronos/config/command_table.h"
#include "chronos/config/config.h"
#include "config/config_file.h"
#include "config/given.h"
#include "config/suspicion.h"
#include "config/value.h"

namespace chronos::config {
namespace {

std::string quoted_list(std::string_view words) {
    std::string result;
    for (const std::string_view word : split(words, ' '))
        result += (result.empty() ? "'" : ", '") + std::string(word) + "'";
    return result;
}

bool has_word(std::string_view words, std::string_view wanted) {
    for (const std::string_view word : split(words, ' '))
        if (word == wanted) return true;
    return false;
}

/// Whether a file holds a value that must not be read by everybody.
bool holds_secret(std::string_view text) {
    for (const std::string_view line : split(text, '\n')) {
        const auto named = find_option(trim(line.substr(0, line.find('='))));
        if (named && named->option->secret) return true;
    }
    return false;
}

/// "repo1-host", "pg2-host": pgBackRest's way to work with another machine, which is not ours. To
/// ignore it would be to look for backups in the wrong place.
bool names_remote_host(std::string_view key) {
    for (const std::string_view prefix : {"repo", "pg"}) {
        if (!key.starts_with(prefix) || !key.ends_with("-host")) continue;
        const std::string_view index = key.substr(prefix.size(), key.size() - prefix.size() - 5);
        if (parse_uint(index)) return true;
    }
    return false;
}

std::optional<std::string> variable(const std::vector<std::string>& environment,
                                    std::string_view name) {
    for (const std::string& entry : environment)
        if (entry.size() > name.size() + 1 && entry[name.size()] == '=' && entry.starts_with(name))
            return entry.substr(name.size() + 1);
    return std::nullopt;
}

/// An engine works by the sections and defaults of the command that it does the work of.
CommandId rules_of(const CommandInfo& command, const std::vector<std::string>& parameters) {
    if (command.id != CommandId::engine || parameters.empty()) return command.id;
    return command_of_role(parameters[0]).value_or(command.id);
}

}  // namespace

/// Collects settings from the strongest source to the weakest and then checks what came together.
class Resolver {
public:
    Resolver(const Input& input, std::vector<std::string>& warnings)
        : input_(input), warnings_(warnings) {}

    Result<Config> run();

private:
    /// `--reset-x` keeps weaker sources out and is gone in the end.
    struct Slot {
        Setting setting;
        bool reset = false;
    };

    Slot* find(const Option& option, unsigned index);
    void set(const Given& given, Source source, bool extend);
    Result<> choose_command(const CommandLine& line);
    Result<> add_command_line(const CommandLine& line);
    Result<> add_environment();
    Result<> add_files();
    Result<> add_section(const std::vector<FileEntry>& entries, const std::string& section,
                         bool of_stanza, bool of_command);
    Result<bool> usable_in_section(const FileEntry& entry, bool of_stanza, bool of_command);
    Result<> check_duplicates(const std::vector<FileEntry>& entries, const FileEntry& entry);
    void warn_of_readable_secrets(const FileContent& content);
    bool runs_per_segment() const;
    std::string text_of(TextName name) const;

    Result<> check_values(bool dependent);
    Result<> add_secret_files();
    void add_cloud_region();
    const Option* broken_dependency(const Option& option, unsigned index) const;
    Error dependency_error(const Option& option, unsigned index, const Option& other) const;
    bool is_left_aside_unasked(const Setting& setting, const Option& broken) const;
    Result<> check_dependencies();
    Result<> check_required() const;
    Result<> require(const Option& option, unsigned index) const;
    Result<> check_repositories() const;
    Result<> check_relations() const;
    void sort_settings();

    const Input& input_;
    std::vector<std::string>& warnings_;
    Config config_;
    std::vector<Slot> slots_;
};

Resolver::Slot* Resolver::find(const Option& option, unsigned index) {
    for (Slot& slot : slots_)
        if (slot.setting.option == &option && slot.setting.index == index) return &slot;
    return nullptr;
}

/// Keeps what a stronger source said, unless `extend`: the next element of a list in one source.
void Resolver::set(const Given& given, Source source, bool extend) {
    Slot* slot = find(*given.option, given.index);
    if (slot != nullptr && !extend) return;
    if (slot == nullptr) {
        slots_.push_back({});
        slot = &slots_.back();
        slot->setting.option = given.option;
        slot->setting.index = given.index;
        slot->setting.source = source;
    }
    slot->reset = given.form == Given::Form::reset;
    const bool off = given.option->type == Type::boolean && given.text == "n";
    slot->setting.negated = given.form == Given::Form::negate || off;
    if (given.form == Given::Form::set && !off) slot->setting.texts.push_back(given.text);
}

Result<> Resolver::choose_command(const CommandLine& line) {
    if (line.command == nullptr && !line.options.empty())
        return Error(ErrorKind::command_required, "no command found");
    const CommandInfo& command =
        line.command == nullptr ? command_info(CommandId::help) : *line.command;
    if (!command.parameters && !line.parameters.empty())
        return Error(ErrorKind::param_invalid, "command does not allow parameters");
    config_.command_ = command.name;
    config_.command_id_ = command.id;
    config_.rules_ = rules_of(command, line.parameters);
    config_.parameters_ = line.parameters;
    return {};
}

Result<> Resolver::add_command_line(const CommandLine& line) {
    for (const Given& given : line.options) {
        const bool known = knows(config_.command_id_, *given.option);
        // Help and version answer whatever else stands there, as people append them to a command.
        if (!known && config_.command_id_ == CommandId::version) continue;
        if (!known)
            return Error(ErrorKind::option_invalid, "option '" + std::string(given.option->name) +
                                                        "' not valid for command '" +
                                                        config_.command_ + "'");
        set(given, Source::command_line, is_many(*given.option));
    }
    return {};
}

Result<> Resolver::add_environment() {
    for (std::string& warning : suspicious_variables(input_.environment))
        warnings_.push_back(std::move(warning));
    const std::vector<Given> given = CHRONOS_TRY(parse_environment(input_.environment, warnings_));
    for (const Given& one : given) {
        if (!knows(config_.command_id_, *one.option)) continue;
        const Slot* former = find(*one.option, one.index);
        set(one, Source::environment,
            former != nullptr && former->setting.source == Source::environment);
    }
    return {};
}

std::string Resolver::text_of(TextName name) const {
    for (const Slot& slot : slots_)
        if (is(*slot.setting.option, name) && !slot.setting.texts.empty())
            return slot.setting.texts.front();
    return "";
}

Result<> Resolver::add_files() {
    const Option& config_option = row_of("config");
    const Slot* config_slot = find(config_option, 0);
    const FileSearch search{.config = text_of("config"),
                            .no_config = config_slot != nullptr && config_slot->setting.negated,
                            .config_path = text_of("config-path"),
                            .include_path = text_of("config-include-path")};
    const FileContent content = CHRONOS_TRY(load_config_files(search));
    if (!content.main_file.empty()) config_.config_file_ = absolute_file(content.main_file);
    const ConfigLines lines = CHRONOS_TRY(parse_config_files(content));
    const std::vector<FileEntry>& entries = lines.entries;
    warn_of_readable_secrets(content);
    const std::string& stanza = config_.stanza_;
    const std::string of_command = ":" + std::string(config_.rules());
    if (!runs_per_segment())
        for (std::string& warning :
             suspicions(content, lines,
                        {.stanza = stanza,
                        .sections = {"global", "global" + of_command, stanza, stanza + of_command},
                        .command = config_.command_id_}))
            warnings_.push_back(std::move(warning));
    if (!runs_per_segment())
        for (std::string& warning : unread_places(search, content))
            warnings_.push_back(std::move(warning));
    if (!stanza.empty()) {
        CHRONOS_TRY(add_section(entries, stanza + of_command, true, true));
        CHRONOS_TRY(add_section(entries, stanza, true, false));
    }
    CHRONOS_TRY(add_section(entries, "global" + of_command, false, true));
    return add_section(entries, "global", false, false);
}

/// Of these a warning would come once per WAL segment and drown the server's log.
bool Resolver::runs_per_segment() const {
    return command_info(config_.command_id_).per_segment;
}

void Resolver::warn_of_readable_secrets(const FileContent& content) {
    if (runs_per_segment()) return;
    for (const FileContent::File& file : content.files)
        if (file.world_readable && holds_secret(file.text))
            warnings_.push_back("configuration file '" + file.path +
                                "' holds a secret and is accessible to every user\n"
                                "HINT: Run chmod 640 " +
                                file.path + ".");
}

/// Warns of what has no place there; an error if the name lacks its index.
Result<bool> Resolver::usable_in_section(const FileEntry& entry, bool of_stanza, bool of_command) {
    const auto ignore = [&](const std::string& why) {
        warnings_.push_back("configuration file contains " + why + "\nNOTE: " + shown_line(entry) +
                            nearest_option_hint(entry.key));
        return false;
    };
    const auto named = find_option(entry.key);
    if (names_remote_host(entry.key))
        return Error(
                   ErrorKind::option_invalid,
                   "option '" + entry.key + "' is not supported in section '" + entry.section + "'")
            .with_hint(
                "Repository and data directory must be reachable from this machine: as a "
                "directory or as S3.");
    // Whether an option belongs there is asked after whether the command knows it.
    if (const std::string why = misplaced_key(entry, /*of_stanza=*/true); !why.empty())
        return ignore(why);
    CHRONOS_TRY(check_index(*named, entry.key));
    const Option& option = *named->option;
    if (!knows(config_.command_id_, option)) {
        if (of_command)
            return ignore("option '" + entry.key + "' invalid for section '" + entry.section + "'");
        return false;
    }
    if (option.section == Section::stanza && !of_stanza)
        return ignore(misplaced_key(entry, of_stanza));
    return true;
}

Result<> Resolver::check_duplicates(const std::vector<FileEntry>& entries, const FileEntry& entry) {
    for (const FileEntry& other : entries) {
        if (&other == &entry || !set_twice(entry, other)) continue;
        if (other.key == entry.key)
            return Error(ErrorKind::option_invalid,
                         "option '" + entry.key + "' cannot be set multiple times");
        const auto keys = std::minmax(other.key, entry.key);
        return Error(ErrorKind::option_invalid, "configuration file contains duplicate options ('" +
                                                    keys.first + "', '" + keys.second +
                                                    "') in section '[" + entry.section + "]'");
    }
    return {};
}

Result<> Resolver::add_section(const std::vector<FileEntry>& entries, const std::string& section,
                               bool of_stanza, bool of_command) {
    std::vector<NamedOption> from_here;
    for (const FileEntry& entry : entries) {
        if (entry.section != section) continue;
        if (!CHRONOS_TRY(usable_in_section(entry, of_stanza, of_command))) continue;
        CHRONOS_TRY(check_duplicates(entries, entry));
        const NamedOption named = *find_option(entry.key);
        const bool again =
            std::any_of(from_here.begin(), from_here.end(), [&](const NamedOption& former) {
                return former.option == named.option && former.index == named.index;
            });
        if (find(*named.option, named.index) != nullptr && !again) continue;
        from_here.push_back(named);
        if (named.option->type == Type::boolean && entry.value != "y" && entry.value != "n")
            return Error(ErrorKind::option_invalid_value,
                         "boolean option '" + entry.key + "' must be 'y' or 'n'");
        set({.option = named.option,
             .index = named.index,
             .form = Given::Form::set,
             .text = entry.value},
            Source::file, again);
    }
    return {};
}

/// First those that depend on nothing, because others are looked at in their light.
Result<> Resolver::check_values(bool dependent) {
    for (Setting& setting : config_.settings_) {
        const Option& option = *setting.option;
        if (option.depends_on.empty() == dependent) continue;
        const std::string name = indexed_name(option, setting.index);
        for (std::string& text : setting.texts)
            text = CHRONOS_TRY(check_value(option, name, config_.rules_, text));
    }
    return {};
}

/// An option X is read from the file named by X-file if it is not set itself.
Result<> Resolver::add_secret_files() {
    for (const Setting& setting : std::vector<Setting>(config_.settings_)) {
        if (!setting.option->name.ends_with("-file") || setting.texts.empty()) continue;
        const auto target =
            find_option(setting.option->name.substr(0, setting.option->name.size() - 5));
        if (!target || !target->option->secret) continue;
        if (config_.find(*target->option, setting.index) != nullptr) continue;
        const std::string name = indexed_name(*setting.option, setting.index);
        mode_t mode = 0;
        std::string text = CHRONOS_TRY_DOING(read_small_file(setting.texts.front(), &mode),
                                             "read option '" + name + "'");
        while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
        if (text.empty())
            return Error(ErrorKind::option_invalid_value,
                         "file '" + setting.texts.front() + "' of option '" + name + "' is empty");
        if (const std::string why = suspicious_value(*target->option, text); !why.empty())
            warnings_.push_back("file '" + setting.texts.front() + "' of option '" + name +
                                "'\nHINT: " + why);
        if ((mode & 0007) != 0)
            warnings_.push_back("file '" + setting.texts.front() +
                                "' holds a secret and is accessible to every user\n"
                                "HINT: Run chmod 640 " +
                                setting.texts.front() + ".");
        config_.settings_.push_back({.option = target->option,
                                     .index = setting.index,
                                     .source = setting.source,
                                     .negated = false,
                                     .texts = {text}});
    }
    return {};
}

/// The variables that other S3 programs use. Keys come from them too, but there the storage looks:
/// they may change while the program runs.
void Resolver::add_cloud_region() {
    for (const unsigned index : config_.repo_keys()) {
        if (config_.is_directory(index)) continue;
        const Name region{"repo-s3-region", index};
        for (const std::string_view name : {"AWS_REGION", "AWS_DEFAULT_REGION"}) {
            const auto text = variable(input_.environment, name);
            if (!text || config_.has(region)) continue;
            config_.settings_.push_back({.option = &row_of(region),
                                         .index = index,
                                         .source = Source::environment,
                                         .negated = false,
                                         .texts = {*text}});
        }
    }
}

/// The option that has not the value which `option` needs, nullptr if all is well.
const Option* Resolver::broken_dependency(const Option& option, unsigned index) const {
    if (option.depends_on.empty()) return nullptr;
    const Option& other = *find_option(option.depends_on)->option;
    if (!knows(config_.rules_, other)) return nullptr;
    const unsigned other_index = other.group == Group::none ? 0 : index;
    if (broken_dependency(other, other_index) != nullptr) return &other;
    const std::string text = config_.text_of(other, other_index);
    const bool met =
        option.depends_values.empty() ? !text.empty() : has_word(option.depends_values, text);
    return met ? nullptr : &other;
}

Error Resolver::dependency_error(const Option& option, unsigned index, const Option& other) const {
    const std::string other_name = indexed_name(other, other.group == Group::none ? 0 : index);
    std::string text = "option '" + indexed_name(option, index) + "' not valid without option '";
    const std::string_view values = option.depends_values;
    if (values == "n") text += "no-";
    text += other_name + "'";
    if (values.find(' ') != std::string_view::npos)
        text += " in (" + quoted_list(values) + ")";
    else if (!values.empty() && other.type != Type::boolean)
        text += " = '" + std::string(values) + "'";
    return Error(ErrorKind::option_invalid, text);
}

/// Nobody has said that the option is not to count: that on which it depends has its default.
bool Resolver::is_left_aside_unasked(const Setting& setting, const Option& broken) const {
    return config_.find(broken, broken.group == Group::none ? 0 : setting.index) == nullptr;
}

/// What somebody typed must make sense, and so must what a variable says that means one call, such
/// as a target. What stands in a file for other cases is left aside, with a warning where no such
/// case is in sight: a passphrase, for example, without a word that anything is to be encrypted.
Result<> Resolver::check_dependencies() {
    std::vector<Setting> kept;
    for (const Setting& setting : config_.settings_) {
        const Option& option = *setting.option;
        const Option* broken = broken_dependency(option, setting.index);
        if (broken == nullptr) {
            kept.push_back(setting);
            continue;
        }
        const bool unasked = is_left_aside_unasked(setting, *broken);
        const bool typed = setting.source == Source::command_line ||
                           (unasked && option.section == Section::command_line);
        if (config_.command_id_ != CommandId::engine && typed)
            return dependency_error(option, setting.index, *broken);
        if (unasked && !runs_per_segment())
            warnings_.push_back(dependency_error(option, setting.index, *broken).message() +
                                "\nHINT: Its value does not count.");
    }
    config_.settings_ = std::move(kept);
    return {};
}

Result<> Resolver::require(const Option& option, unsigned index) const {
    if (config_.find(option, index) != nullptr || !config_.default_text(option, index).empty() ||
        broken_dependency(option, index) != nullptr)
        return {};
    Error error(ErrorKind::option_required,
                config_.command_ + " command requires option: " + indexed_name(option, index));
    if (option.section == Section::stanza)
        return std::move(error).with_hint("Does this stanza exist?");
    return error;
}

Result<> Resolver::check_required() const {
    const Option& stanza = row_of("stanza");
    if (stanza.required.contains(config_.rules_)) CHRONOS_TRY(require(stanza, 0));
    for (const Option& option : option_table()) {
        if (!option.required.contains(config_.rules_)) continue;
        if (option.group == Group::none) {
            CHRONOS_TRY(require(option, 0));
        } else if (option.group == Group::repo) {
            for (const unsigned index : config_.repo_keys()) CHRONOS_TRY(require(option, index));
        } else if (!config_.stanza_.empty()) {
            std::vector<unsigned> keys = config_.pg_keys();
            if (keys.empty()) keys.push_back(1);
            for (const unsigned index : keys) CHRONOS_TRY(require(option, index));
        }
    }
    return {};
}

Result<> Resolver::check_repositories() const {
    if (!knows(config_.command_id_, row_of("repo1-path"))) return {};
    const std::vector<unsigned> keys = config_.repo_keys();
    const auto name = [](unsigned key) { return "repo" + std::to_string(key); };
    for (std::size_t i = 0; i < keys.size(); ++i)
        for (std::size_t j = i + 1; j < keys.size(); ++j) {
            const std::string path = config_.get_string({"repo-path", keys[i]});
            if (!config_.is_directory(keys[i]) || !config_.is_directory(keys[j]) ||
                config_.get_string({"repo-path", keys[j]}) != path)
                continue;
            return Error(ErrorKind::option_invalid_value, "local " + name(keys[i]) + " and " +
                                                              name(keys[j]) + " paths are both '" +
                                                              path + "' but must be different");
        }
    const std::int64_t wanted = config_.get_int("repo");
    if (wanted != 0 && std::find(keys.begin(), keys.end(), wanted) == keys.end())
        return Error(ErrorKind::option_invalid_value,
                     "key '" + std::to_string(wanted) + "' is not valid for 'repo' option");
    return {};
}

Result<> Resolver::check_relations() const {
    if (config_.has("db-timeout") && config_.has("protocol-timeout") &&
        config_.get_time("protocol-timeout") <= config_.get_time("db-timeout")) {
        const std::string protocol = config_.text_of("protocol-timeout");
        return Error(ErrorKind::option_invalid_value,
                     "'" + protocol + "' is not valid for 'protocol-timeout' option")
            .with_hint("'protocol-timeout' option (" + protocol +
                       ") should be greater than 'db-timeout' option (" +
                       config_.text_of("db-timeout") + ").");
    }
    if (!config_.has("compress-level")) return {};
    struct Range {
        std::string_view type;
        std::int64_t minimum;
        std::int64_t maximum;
    };
    const std::string type = config_.get_string("compress-type");
    const std::int64_t level = config_.get_int("compress-level");
    for (const Range& range :
         {Range{"gz", -1, 9}, Range{"bz2", 1, 9}, Range{"lz4", -5, 12}, Range{"zst", -7, 22}})
        if (range.type == type && (level < range.minimum || level > range.maximum))
            return Error(ErrorKind::option_invalid_value,
                         "'" + std::to_string(level) +
                             "' is out of range for 'compress-level' option when 'compress-type' "
                             "option = '" +
                             type + "'")
                .with_hint("Allowed is " + std::to_string(range.minimum) + " to " +
                           std::to_string(range.maximum) + ".");
    return {};
}

void Resolver::sort_settings() {
    std::sort(config_.settings_.begin(), config_.settings_.end(),
              [](const Setting& a, const Setting& b) {
                  return indexed_name(*a.option, a.index) < indexed_name(*b.option, b.index);
              });
}

Result<Config> Resolver::run() {
    const CommandLine line = CHRONOS_TRY(parse_command_line(input_.arguments));
    config_.program_ = input_.program;
    config_.terminal_ = input_.terminal;
    CHRONOS_TRY(choose_command(line));
    CHRONOS_TRY(add_command_line(line));
    // These answer even where the configuration is broken.
    const bool standalone = command_info(config_.command_id_).standalone;
    if (!standalone) CHRONOS_TRY(add_environment());
    config_.stanza_ = text_of("stanza");
    if (!standalone) CHRONOS_TRY(add_files());
    for (Slot& slot : slots_)
        if (!slot.reset) config_.settings_.push_back(std::move(slot.setting));
    CHRONOS_TRY(check_values(/*dependent=*/false));
    if (!standalone) CHRONOS_TRY(check_dependencies());
    CHRONOS_TRY(check_values(/*dependent=*/true));
    if (!standalone) {
        CHRONOS_TRY(add_secret_files());
        add_cloud_region();
        CHRONOS_TRY(check_required());
        CHRONOS_TRY(check_repositories());
        CHRONOS_TRY(check_relations());
    }
    const Option& exec_id = row_of("exec-id");
    if (!input_.exec_id.empty() && config_.find(exec_id, 0) == nullptr)
        config_.settings_.push_back({.option = &exec_id,
                                     .index = 0,
                                     .source = Source::default_value,
                                     .negated = false,
                                     .texts = {input_.exec_id}});
    sort_settings();
    config_.warnings_ = warnings_;
    return std::move(config_);
}

Result<Config> resolve(const Input& input, std::vector<std::string>& warnings) {
    return Resolver(input, warnings).run();
}

}  // namespace chronos::config
