// Conversions one element at a time, as halyard/base/float16.h defines them.
#pragma once

#include "halyard/base/float16.h"

namespace halyard::ops::reference {

inline float widen(float x) { return x; }
inline float widen(f16 x) { return to_float(x); }
inline float widen(bf16 x) { return to_float(x); }

template <class To> To convert(float x);
template <> inline float convert<float>(float x) { return x; }
template <> inline f16 convert<f16>(float x) { return to_f16(x); }
template <> inline bf16 convert<bf16>(float x) { return to_bf16(x); }

}  // namespace halyard::ops::reference
