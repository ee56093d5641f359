#include "chronos/config/config.h"

#include <algorithm>
#include <stdexcept>
#include <thread>

#include "chronos/base/text.h"
#include "config/option_table.h"
#include "config/quantity.h"
#include "config/value.h"

namespace chronos::config {
namespace {

/// Left out of generated command lines: they belong to the run, not to what it works on.
bool belongs_to_run(const Option& option) {
    constexpr Name kNames[] = {
        "exec-id",     "job-retry", "job-retry-interval", "log-subprocess", "log-timestamp",
        "process-max", "cmd",       "allow-root",         "output",         "progress"};
    return std::ranges::any_of(kNames, [&](Name name) { return is(option, name); }) ||
           option.name.starts_with("log-level-");
}

std::string default_level(std::string_view compress_type) {
    if (compress_type == "gz") return "6";
    if (compress_type == "bz2") return "9";
    if (compress_type == "lz4") return "1";
    if (compress_type == "zst") return "3";
    return "0";
}

/// More workers than this rarely pay on one machine, and they take cores from the server.
constexpr unsigned kDefaultWorkersMax = 4;

std::string default_workers() {
    return std::to_string(std::clamp(std::thread::hardware_concurrency(), 1u, kDefaultWorkersMax));
}

std::string describe_text(const Setting& setting, const std::string& name,
                          const std::string& value) {
    if (setting.option->type == Type::boolean) return "--" + name;
    const std::string text = shown_value(*setting.option, value);
    if (text.find(' ') == std::string::npos) return "--" + name + "=" + text;
    return "--" + name + "=\"" + text + "\"";
}

}  // namespace

std::string written(Name name) {
    return indexed_name(row_of(name), name.index());
}

const Setting* Config::find(const Option& option, unsigned index) const {
    for (const Setting& setting : settings_)
        if (setting.option == &option && setting.index == index) return &setting;
    return nullptr;
}

const Setting* Config::find(Name name) const {
    return find(row_of(name), name.index());
}

bool Config::has(Name name) const {
    return find(name) != nullptr;
}

Source Config::source(Name name) const {
    const Setting* setting = find(name);
    return setting == nullptr ? Source::default_value : setting->source;
}

std::string Config::text_of(const Option& option, unsigned index) const {
    const Setting* setting = find(option, index);
    if (setting == nullptr) return default_text(option, index);
    if (option.type == Type::boolean) return setting->negated ? "n" : "y";
    return setting->texts.empty() ? "" : setting->texts.front();
}

std::string Config::text_of(Name name) const {
    return text_of(row_of(name), name.index());
}

std::vector<std::string> Config::texts_of(Name name) const {
    const Setting* setting = find(name);
    return setting == nullptr ? std::vector<std::string>() : setting->texts;
}

/// What depends on other options or on the machine; everything else stands in the table.
std::string Config::default_text(const Option& option, unsigned index) const {
    if (!option.unmet_default.empty() && !option.depends_on.empty()) {
        const Option& other = *find_option(option.depends_on)->option;
        const unsigned other_index = other.group == Group::none ? 0 : index;
        if (knows(command_id_, other) && text_of(other, other_index) != option.depends_values)
            return std::string(option.unmet_default);
    }
    if (is(option, "compress-type") && text_of("compress") == "n") return "none";
    if (is(option, "compress-level")) return default_level(text_of("compress-type"));
    if (is(option, "process-max") && option.other_default_commands.contains(rules_))
        return default_workers();
    if (is(option, "cmd")) return program_;
    if (is(option, "log-level-console") && terminal_) return "info";
    if (is(option, "db-timeout") || is(option, "protocol-timeout")) return default_time(option);
    if (is(option, {"repo-s3-endpoint", index})) {
        const std::string region = text_of({"repo-s3-region", index});
        return region.empty() ? "" : "s3." + region + ".amazonaws.com";
    }
    return std::string(default_for(option, rules_));
}

/// A query must end before the process that waits for it gives up: whichever of the two limits is
/// not set follows the other one.
std::string Config::default_time(const Option& option) const {
    using std::chrono::milliseconds;
    const bool is_query = is(option, "db-timeout");
    const milliseconds standard = *parse_time(option.default_text);
    const Option& other = is_query ? row_of("protocol-timeout") : row_of("db-timeout");
    const Setting* setting = find(other, 0);
    if (setting == nullptr) return std::string(option.default_text);
    const milliseconds limit = *parse_time(setting->texts.front());
    constexpr milliseconds kMargin{30000};
    if (is_query && standard >= limit)
        return std::to_string((limit > 2 * kMargin ? limit - kMargin : limit / 2).count()) + "ms";
    if (!is_query && standard <= limit) return std::to_string((limit + kMargin).count()) + "ms";
    return std::string(option.default_text);
}

std::string Config::get_string(TextName name) const {
    return text_of(name);
}

bool Config::get_bool(BoolName name) const {
    return text_of(name) == "y";
}

std::int64_t Config::get_int(IntName name) const {
    return parse_integer(text_of(name)).value_or(0);
}

std::uint64_t Config::get_size(SizeName name) const {
    return parse_size(text_of(name)).value_or(0);
}

std::chrono::milliseconds Config::get_time(TimeName name) const {
    return parse_time(text_of(name)).value_or(std::chrono::milliseconds(0));
}

std::vector<std::string> Config::get_list(ListName name) const {
    return texts_of(name);
}

std::map<std::string, std::string> Config::get_hash(HashName name) const {
    std::map<std::string, std::string> result;
    for (const std::string& text : texts_of(name)) {
        const std::size_t equal = text.find('=');
        result[text.substr(0, equal)] = text.substr(equal + 1);
    }
    return result;
}

std::map<std::uint64_t, std::uint64_t> Config::get_number_map(HashName name) const {
    std::map<std::uint64_t, std::uint64_t> result;
    // A size without a unit is a number.
    for (const auto& [key, value] : get_hash(name))
        result[parse_size(key).value_or(0)] = parse_size(value).value_or(0);
    return result;
}

std::vector<unsigned> Config::keys(bool of_repositories) const {
    std::vector<unsigned> result;
    for (const Setting& setting : settings_)
        if (setting.option->group == (of_repositories ? Group::repo : Group::pg))
            result.push_back(setting.index);
    std::sort(result.begin(), result.end());
    result.erase(std::unique(result.begin(), result.end()), result.end());
    return result;
}

std::vector<unsigned> Config::repo_keys() const {
    std::vector<unsigned> result = keys(/*of_repositories=*/true);
    if (result.empty()) result.push_back(1);
    return result;
}

bool Config::is_directory(unsigned repo_key) const {
    return get_string({"repo-type", repo_key}) != "s3";
}

std::vector<unsigned> Config::pg_keys() const {
    return keys(/*of_repositories=*/false);
}

std::vector<std::string> Config::command_line_options(std::string_view for_command) const {
    const CommandInfo* command = find_command(for_command);
    if (command == nullptr)
        throw std::logic_error("no command is called '" + std::string(for_command) + "'");
    std::vector<std::string> result;
    for (const Setting& setting : settings_) {
        const Option& option = *setting.option;
        if (setting.source != Source::command_line || option.secret || belongs_to_run(option) ||
            !knows(command->id, option))
            continue;
        const std::string name = indexed_name(option, setting.index);
        if (setting.negated) result.push_back("--no-" + name);
        for (const std::string& text : setting.texts)
            result.push_back(option.type == Type::boolean ? "--" + name : "--" + name + "=" + text);
    }
    return result;
}

std::string Config::describe() const {
    std::string result;
    for (const Setting& setting : settings_) {
        const std::string name = indexed_name(*setting.option, setting.index);
        if (setting.negated) result += " --no-" + name;
        for (const std::string& text : setting.texts)
            result += " " + describe_text(setting, name, text);
    }
    return result.empty() ? result : result.substr(1);
}

ListedOption Config::listed(const Option& option, unsigned index) const {
    const Setting* setting = find(option, index);
    ListedOption result{.name = indexed_name(option, index),
                        .value = shown_value(option, text_of(option, index)),
                        .source = setting == nullptr ? Source::default_value : setting->source,
                        .summary = option.summary};
    if (setting == nullptr || setting->texts.size() < 2) return result;
    std::vector<std::string> values;
    for (const std::string& text : setting->texts) values.push_back(shown_value(option, text));
    result.value = join(values, ",");
    return result;
}

std::vector<ListedOption> Config::list() const {
    std::vector<ListedOption> result;
    for (const Option& option : option_table()) {
        if (option.section == Section::command_line || option.internal) continue;
        std::vector<unsigned> indexes{0};
        if (option.group == Group::repo) indexes = repo_keys();
        if (option.group == Group::pg) indexes = pg_keys();
        for (const unsigned index : indexes) result.push_back(listed(option, index));
    }
    std::sort(
        result.begin(), result.end(),
        [](const ListedOption& left, const ListedOption& right) { return left.name < right.name; });
    return result;
}

}  // namespace chronos::config
