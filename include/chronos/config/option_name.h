#pragma once

#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "chronos/config/options/all.h"

/// The code generator of clang dies of what it has looked up itself until release 16: there, which
/// is in the fuzzers only, a name is looked up when the program runs.
#if defined(__clang__) && __clang_major__ < 16
#define CHRONOS_CONSTEVAL constexpr
#else
#define CHRONOS_CONSTEVAL consteval
#endif

/// Names of options in the program, which the compiler looks up: "pg1-path" where a text is wanted
/// compiles because there is a row pg-path, of a group, whose type is a text. Nothing is left to be
/// looked up, or to fail, when the program runs.
namespace chronos::config {
namespace lookup {

/// These are called by what only a compiler runs, which cannot call them: the error shows the name.
inline void no_option_has_this_name() {
    std::abort();
}
inline void option_is_of_another_type() {
    std::abort();
}
inline void option_of_a_group_needs_an_index() {
    std::abort();
}
inline void option_has_no_index() {
    std::abort();
}

struct Found {
    std::uint16_t row = 0;    ///< in the sorted table: how many names come before
    std::uint16_t index = 0;  ///< of the repository or cluster, 0 if none is named
    Type type = Type::string;
    Group group = Group::none;
};

/// As std::string_view::compare(), in fewer steps: a compiler counts them.
constexpr int order(std::string_view a, std::string_view b) {
    for (std::size_t i = 0; i < a.size() && i < b.size(); ++i)
        if (a[i] != b[i]) return a[i] < b[i] ? -1 : 1;
    return a.size() < b.size() ? -1 : a.size() > b.size() ? 1 : 0;
}

constexpr Found find_row(std::string_view name) {
    Found found;
    bool is_there = false;
    for (const std::span<const Option> subject : options::kSubjects)
        for (const Option& option : subject) {
            const int side = order(option.name, name);
            if (side < 0) ++found.row;
            if (side != 0) continue;
            is_there = true;
            found.type = option.type;
            found.group = option.group;
        }
    if (!is_there) no_option_has_this_name();
    return found;
}

/// Where the digits of "repo12-path" begin, 0 if the name cannot have any.
constexpr std::size_t index_begin(std::string_view name) {
    for (const Group group : {Group::repo, Group::pg})
        if (name.starts_with(group_prefix(group))) return group_prefix(group).size();
    return 0;
}

/// "repo12-path" as the row of repo-path, and 12.
constexpr Found find(std::string_view name) {
    char bare[64] = {};
    std::size_t size = 0;
    unsigned index = 0;
    const std::size_t begin = index_begin(name);
    bool in_index = begin != 0;
    for (std::size_t i = 0; i < name.size(); ++i) {
        in_index = in_index && (i < begin || (name[i] >= '0' && name[i] <= '9'));
        if (in_index && i >= begin)
            index = 10 * index + static_cast<unsigned>(name[i] - '0');
        else
            bare[size++] = name[i];
    }
    Found found = find_row({bare, size});
    found.index = static_cast<std::uint16_t>(index);
    return found;
}

/// Of a name that says which repository or cluster, if there is more than one.
constexpr Found complete(const Found& found) {
    if (found.group == Group::none && found.index != 0) option_has_no_index();
    if (found.group != Group::none && (found.index == 0 || found.index > kIndexMax))
        option_of_a_group_needs_an_index();
    return found;
}

/// Of a name that leaves that open.
constexpr Found open(const Found& found) {
    if (found.group == Group::none || found.index != 0) option_has_no_index();
    return found;
}

template <Type... kTypes>
constexpr Found of_type(const Found& found) {
    if (!((found.type == kTypes) || ...)) option_is_of_another_type();
    return found;
}

}  // namespace lookup

/// An option of a group, whichever of the group is meant: "repo-path".
class GroupName {
public:
    CHRONOS_CONSTEVAL GroupName(const char* written)
        : GroupName(lookup::open(lookup::find(written))) {}

    constexpr std::uint16_t row() const { return row_; }

protected:
    explicit constexpr GroupName(const lookup::Found& found) : row_(found.row) {}

private:
    std::uint16_t row_;
};

/// One that has one of these types.
template <Type... kTypes>
class GroupNameOf : public GroupName {
public:
    CHRONOS_CONSTEVAL GroupNameOf(const char* written)
        : GroupName(lookup::of_type<kTypes...>(lookup::open(lookup::find(written)))) {}
};

/// One option, whatever its type: "process-max", "repo1-path", or {"repo-path", key}.
class Name {
public:
    CHRONOS_CONSTEVAL Name(const char* written) : Name(lookup::complete(lookup::find(written))) {}
    explicit constexpr Name(const lookup::Found& found) : row_(found.row), index_(found.index) {}
    /// Of the repository or cluster with that number.
    constexpr Name(GroupName name, unsigned index)
        : row_(name.row()), index_(static_cast<std::uint16_t>(index)) {}

    /// The place in the sorted table.
    constexpr std::uint16_t row() const { return row_; }
    /// 0 of an option of no group.
    constexpr std::uint16_t index() const { return index_; }

private:
    std::uint16_t row_;
    std::uint16_t index_;
};

/// One that has one of these types.
template <Type... kTypes>
class NameOf : public Name {
public:
    using OfGroup = GroupNameOf<kTypes...>;

    CHRONOS_CONSTEVAL NameOf(const char* written)
        : Name(lookup::of_type<kTypes...>(lookup::complete(lookup::find(written)))) {}
    constexpr NameOf(OfGroup name, unsigned index) : Name(name, index) {}
    /// Whoever found it sees to the type.
    explicit constexpr NameOf(Name name) : Name(name) {}
};

using TextName = NameOf<Type::string, Type::path>;
using BoolName = NameOf<Type::boolean>;
using IntName = NameOf<Type::integer>;
using SizeName = NameOf<Type::size>;
using TimeName = NameOf<Type::time>;
using ListName = NameOf<Type::list>;
using HashName = NameOf<Type::hash>;

}  // namespace chronos::config
