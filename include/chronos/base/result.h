#pragma once

#include <optional>
#include <utility>
#include <variant>

#include "chronos/base/error.h"

namespace chronos {

/// The value of a call or the Error that stands in its place. It must be looked at: test it, then
/// take value() or error(); taking the wrong one is a broken invariant and throws.
template <class T = void>
class [[nodiscard]] Result {
public:
    Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}      // NOLINT: implicit
    Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT: implicit
    /// From anything a T can be made of, so that `return unique_ptr<Derived>` works.
    template <class U>
    requires(std::is_convertible_v<U&&, T> && !std::is_same_v<std::decay_t<U>, T> &&
             !std::is_same_v<std::decay_t<U>, Error> && !std::is_same_v<std::decay_t<U>, Result>)
        Result(U&& value)                                            // NOLINT
        : state_(std::in_place_index<0>, std::forward<U>(value)) {}  // NOLINT

    explicit operator bool() const noexcept { return state_.index() == 0; }
    T& value() & { return std::get<0>(state_); }
    const T& value() const& { return std::get<0>(state_); }
    T&& value() && { return std::get<0>(std::move(state_)); }
    T& operator*() & { return value(); }
    const T& operator*() const& { return value(); }
    T&& operator*() && { return std::move(*this).value(); }
    T* operator->() { return &value(); }
    const T* operator->() const { return &value(); }
    Error& error() & { return std::get<1>(state_); }
    const Error& error() const& { return std::get<1>(state_); }
    Error&& error() && { return std::get<1>(std::move(state_)); }

private:
    std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
public:
    Result() = default;
    Result(Error error) : error_(std::move(error)) {}  // NOLINT: implicit

    explicit operator bool() const noexcept { return !error_.has_value(); }
    void value() const {}
    Error& error() & { return error_.value(); }
    const Error& error() const& { return error_.value(); }
    Error&& error() && { return std::move(error_).value(); }

private:
    std::optional<Error> error_;
};

}  // namespace chronos

/// The value of a Result, or return its error from the enclosing function:
/// `auto text = CHRONOS_TRY(read_all(source));`
#define CHRONOS_TRY(...)                                                 \
    __extension__({                                                      \
        auto chronos_result_ = (__VA_ARGS__);                            \
        if (!chronos_result_) return std::move(chronos_result_).error(); \
        std::move(chronos_result_).value();                              \
    })

/// The same, and the error says what was being done:
/// `CHRONOS_TRY_DOING(file.sync(), "store backup label");`
#define CHRONOS_TRY_DOING(expression, what)                                                \
    __extension__({                                                                        \
        auto chronos_result_ = (expression);                                               \
        if (!chronos_result_) return std::move(chronos_result_).error().while_doing(what); \
        std::move(chronos_result_).value();                                                \
    })
