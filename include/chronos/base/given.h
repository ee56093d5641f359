#pragma once

#include <concepts>
#include <optional>
#include <stdexcept>

namespace chronos {

/// A value that whoever fills a struct must give. An option has its default in its row of the
/// option table and nowhere else: a second one in the struct that it becomes would be used by
/// tests, hold for nobody, and differ one day. Reading what was not given is a broken invariant,
/// and throws. test/lint/defaults.t finds a default that an option has too, and a member that
/// nothing gives.
template <class T>
class Given {
public:
    Given() = default;
    template <class U>
    requires std::convertible_to<U, T> Given(U value) : value_(static_cast<T>(value)) {}

    const T& operator*() const {
        if (!value_) throw std::logic_error("a value was not given");
        return *value_;
    }
    const T* operator->() const { return &**this; }
    operator T() const { return **this; }

private:
    std::optional<T> value_;
};

}  // namespace chronos
