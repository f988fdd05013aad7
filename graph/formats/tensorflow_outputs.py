"""The names of the outputs of TensorFlow's op types that have several: inside of functions an output is called by its name."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["OUTPUT_NAMES"]

#: Names in order, and the op types that have them. As TensorFlow 2.21 registers them; those whose outputs are lists are left out.
_TABLE = (
    ("values indices", "ApproxTopK TopK TopKV2"),
    ("e v", "BatchSelfAdjointEigV2 Eig SelfAdjointEigV2"),
    ("s u v", "BatchSvd Svd"),
    ("i cs f o ci co h", "BlockLSTM BlockLSTMV2 LSTMBlockCell"),
    ("row_ptrs col_inds values", "CSRSparseMatrixComponents"),
    ("indices values dense_shape", "CSRSparseMatrixToSparseTensor"),
    ("decoded_indices decoded_values decoded_shape log_probability", "CTCGreedyDecoder"),
    ("loss gradient", "CTCLoss CTCLossV2"),
    ("nmsed_boxes nmsed_scores nmsed_classes valid_detections", "CombinedNonMaxSuppression"),
    ("output output_h output_c reserve_space", "CudnnRNN"),
    (
        "input_backprop input_h_backprop input_c_backprop params_backprop",
        "CudnnRNNBackprop CudnnRNNBackpropV2 CudnnRNNBackpropV3",
    ),
    ("output output_h output_c reserve_space host_reserved", "CudnnRNNV2 CudnnRNNV3"),
    ("audio sample_rate", "DecodeWav"),
    (
        "result_indices result_values result_shape",
        "DenseToDenseSetOperation DenseToSparseSetOperation SparseToSparseSetOperation",
    ),
    (
        "sparse_indices sparse_values sparse_shape",
        "DeserializeManySparse DeserializeSparse TakeManySparseFromTensorsMap",
    ),
    ("output row_pooling_sequence col_pooling_sequence", "FractionalAvgPool FractionalMaxPool"),
    ("y batch_mean batch_variance reserve_space_1 reserve_space_2", "FusedBatchNorm FusedBatchNormV2"),
    ("y batch_mean batch_variance reserve_space_1 reserve_space_2 reserve_space_3", "FusedBatchNormV3"),
    ("r u c h", "GRUBlockCell"),
    ("output segments", "IsotonicRegression"),
    ("out idx", "ListDiff"),
    ("sign log_abs_determinant", "LogMatrixDeterminant"),
    ("keys values", "LookupTableExport LookupTableExportV2"),
    ("lu p", "Lu"),
    ("output argmax", "MaxPoolWithArgmax"),
    ("output value_index", "Merge RefMerge"),
    ("nearest_center_indices nearest_center_distances", "NearestNeighbors"),
    ("selected_indices valid_outputs", "NonMaxSuppressionV4"),
    ("selected_indices selected_scores valid_outputs", "NonMaxSuppressionV5"),
    ("q r", "Qr"),
    (
        "output output_min output_max",
        "QuantizeDownAndShrinkRange QuantizeV2 QuantizedConcat QuantizedConcatV2 QuantizedReshape Requantize "
        "RequantizePerChannel",
    ),
    ("z min_z max_z", "QuantizedAdd QuantizedMul"),
    (
        "output min_output max_output",
        "QuantizedAvgPool QuantizedConv2D QuantizedConv2DAndRelu QuantizedConv2DAndReluAndRequantize "
        "QuantizedConv2DAndRequantize QuantizedConv2DPerChannel QuantizedConv2DWithBias "
        "QuantizedConv2DWithBiasAndRelu QuantizedConv2DWithBiasAndReluAndRequantize "
        "QuantizedConv2DWithBiasAndRequantize QuantizedConv2DWithBiasSignedSumAndReluAndRequantize "
        "QuantizedConv2DWithBiasSumAndRelu QuantizedConv2DWithBiasSumAndReluAndRequantize "
        "QuantizedDepthwiseConv2D QuantizedDepthwiseConv2DWithBias QuantizedDepthwiseConv2DWithBiasAndRelu "
        "QuantizedDepthwiseConv2DWithBiasAndReluAndRequantize QuantizedMaxPool",
    ),
    ("result result_min result_max", "QuantizedBatchNormWithGlobalNormalization"),
    ("output min_out max_out", "QuantizedBiasAdd"),
    ("y y_min y_max", "QuantizedInstanceNorm"),
    (
        "out min_out max_out",
        "QuantizedMatMul QuantizedMatMulWithBias QuantizedMatMulWithBiasAndRelu "
        "QuantizedMatMulWithBiasAndReluAndRequantize QuantizedMatMulWithBiasAndRequantize",
    ),
    ("activations min_activations max_activations", "QuantizedRelu QuantizedRelu6 QuantizedReluX"),
    ("resized_images out_min out_max", "QuantizedResizeBilinear"),
    ("output_value_rowids output_values empty_row_indicator reverse_index_map", "RaggedFillEmptyRows"),
    ("rt_nested_splits rt_dense_values", "RaggedRange"),
    ("sparse_indices sparse_values sparse_dense_shape", "RaggedTensorToSparse"),
    ("output_false output_true", "RefSwitch Switch"),
    ("output_min output_max", "RequantizationRange RequantizationRangePerChannel"),
    (
        "begin size bboxes",
        "SampleDistortedBoundingBox SampleDistortedBoundingBoxV2 StatelessSampleDistortedBoundingBox",
    ),
    ("loss backprop", "SoftmaxCrossEntropyWithLogits SparseSoftmaxCrossEntropyWithLogits"),
    ("sum_indices sum_values sum_shape", "SparseAdd"),
    (
        "output_indices output_values output_shape",
        "SparseConcat SparseCross SparseCrossHashed SparseCrossV2 SparseReduceMaxSparse SparseReduceSumSparse "
        "SparseSlice",
    ),
    ("output_indices output_values empty_row_indicator reverse_index_map", "SparseFillEmptyRows"),
    ("output_indices output_values", "SparseReorder SparseSparseMaximum SparseSparseMinimum"),
    ("output_indices output_shape", "SparseReshape"),
    ("integer_tensor float_tensor", "SplitDedupData"),
    ("key counter", "StatelessRandomGetKeyCounter"),
    ("key counter alg", "StatelessRandomGetKeyCounterAlg"),
    ("ngrams ngrams_splits", "StringNGrams"),
    ("indices values shape", "StringSplit StringSplitV2"),
    ("value lengths", "TensorArrayConcat TensorArrayConcatV2 TensorArrayConcatV3"),
    ("handle flow", "TensorArrayV3"),
    ("tensor lengths", "TensorListConcat TensorListConcatV2"),
    ("output_handle tensor", "TensorListPopBack"),
    ("topk topk_indices", "TopKUnique TopKWithUnique"),
    ("row_splits char_values", "UnicodeDecode"),
    ("row_splits char_values char_to_byte_starts", "UnicodeDecodeWithOffsets"),
    ("y idx", "Unique UniqueV2"),
    ("y idx count", "UniqueWithCounts UniqueWithCountsV2"),
)  # fmt: skip

#: Op type -> names of its outputs; an op that is missing has one output, or one list of them.
OUTPUT_NAMES: Mapping[str, tuple[str, ...]] = {op: tuple(names.split()) for names, ops in _TABLE for op in ops.split()}
