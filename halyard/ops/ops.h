// Ops: one free function each. Arguments are checked against dtype and shape before anything is recorded; an error says
// what was expected and what came, and records nothing. Unless said otherwise activations are f32 and row-major, `out`
// may be the same buffer as an input of the same shape, and T is the number of positions.
#pragma once

#include "halyard/ops/argmax/argmax.h"
#include "halyard/ops/attention/attention.h"
#include "halyard/ops/causal_conv/causal_conv.h"
#include "halyard/ops/copy/copy.h"
#include "halyard/ops/elementwise/elementwise.h"
#include "halyard/ops/embedding/embedding.h"
#include "halyard/ops/fusion.h"
#include "halyard/ops/gated_norm/gated_norm.h"
#include "halyard/ops/matmul/matmul.h"
#include "halyard/ops/moe/moe.h"
#include "halyard/ops/norm/norm.h"
#include "halyard/ops/rope/rope.h"
#include "halyard/ops/scale/scale.h"
#include "halyard/ops/softmax/softmax.h"
#include "halyard/ops/ssd/ssd.h"
